//! Certificates, keys and CA certificates that are replaced on disk while a client runs.
//!
//! librdkafka reads them once, when the client is created, so a certificate that is renewed in place
//! (cert-manager and Strimzi do that weeks before it expires) would not be used before a restart. This
//! module checks them whenever a connection starts, and passes changed ones to that connection.
//! Existing connections are not affected: TLS verifies certificates in its handshake only.
//!
//! ```text
//! rd_kafka_new ── SSL_CTX_new ──▶ `created`: the context gets `at_handshake` and the `Files`
//! a broker's thread ── handshake begins ──▶ `at_handshake`: changed files go to this connection
//! ```
//!
//! librdkafka does not expose its context, so a callback gets it as OpenSSL creates it, on the thread
//! that creates the client. Only OpenSSL's public API is used. After creation the context, which other
//! threads' connections read, is not changed: only the starting connection is.
//!
//! Files that cannot be read or do not match, as while they are being replaced, are ignored: the last
//! good ones are used. PEM text never changes.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslRef;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl_sys as ffi;
use rdkafka::ClientConfig;
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::sync::Mutex;

type AtHandshake = unsafe extern "C" fn(*const ffi::SSL, c_int, c_int);

// openssl-sys leaves these out. All are in OpenSSL 1.1.1 and 3.
unsafe extern "C" {
    fn SSL_CTX_set_info_callback(context: *mut ffi::SSL_CTX, callback: Option<AtHandshake>);
    fn SSL_get_SSL_CTX(ssl: *const ffi::SSL) -> *mut ffi::SSL_CTX;
    fn SSL_certs_clear(ssl: *mut ffi::SSL);
}

/// The kind of [`at_handshake`]'s call that a handshake begins with (`openssl/ssl.h`).
const HANDSHAKE_START: c_int = 0x10;

/// A file's content, without keeping it: it may be a key.
type Print = [u8; 32];

/// The files of one client.
pub(super) struct Files {
    authorities: Option<PathBuf>,
    identity: Option<Source>,
    now: Mutex<Material>,
}

/// The files of the client certificate and its key.
enum Source {
    Pem {
        certificate: PathBuf,
        key: PathBuf,
        password: Option<Secret>,
    },
    KeyStore {
        file: PathBuf,
        password: Secret,
    },
}

/// The files' last content, and the parts used instead of what librdkafka has read.
struct Material {
    authorities_print: Option<Print>,
    authorities: Option<Vec<X509>>,
    identity_print: Option<Print>,
    identity: Option<Identity>,
}

struct Identity {
    certificate: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Files {
    /// The current files of a client with this configuration; `None` if it has none.
    pub(super) fn of(config: &ClientConfig) -> Option<Box<Files>> {
        let path = |name| config.get(name).map(PathBuf::from);
        let secret = |name| config.get(name).map(Secret::from);
        let protocol = config.get("security.protocol").unwrap_or_default();
        if !protocol.to_ascii_lowercase().contains("ssl") {
            return None;
        }
        // A directory's certificates are looked up with each handshake anyway, and revocation lists
        // belong to the store that librdkafka has made.
        let authorities = path("ssl.ca.location")
            .filter(|file| file.is_file() && config.get("ssl.crl.location").is_none());
        let pem = path("ssl.certificate.location").zip(path("ssl.key.location"));
        let identity = match (pem, path("ssl.keystore.location")) {
            (Some((certificate, key)), _) => Some(Source::Pem {
                certificate,
                key,
                password: secret("ssl.key.password"),
            }),
            (None, Some(file)) => Some(Source::KeyStore {
                file,
                password: secret("ssl.keystore.password").unwrap_or_else(|| Secret::from("")),
            }),
            (None, None) => None,
        };
        if authorities.is_none() && identity.is_none() {
            return None;
        }
        let now = Material {
            authorities_print: authorities.as_ref().and_then(|file| print(&[file])),
            authorities: None,
            identity_print: identity.as_ref().and_then(|source| print(&source.files())),
            identity: None,
        };
        Some(Box::new(Files {
            authorities,
            identity,
            now: Mutex::new(now),
        }))
    }

    /// Passes files that changed since the client was created to a starting connection.
    fn refresh(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        let mut now = self.now.lock();
        if let Some(file) = &self.authorities {
            let found = print(&[file]);
            if found.is_some() && found != now.authorities_print {
                let pem = std::fs::read(file).unwrap_or_default();
                if let Some(authorities) = X509::stack_from_pem(&pem)
                    .ok()
                    .filter(|list| !list.is_empty())
                {
                    now.authorities_print = found;
                    now.authorities = Some(authorities);
                }
            }
        }
        if let Some(source) = &self.identity {
            let found = print(&source.files());
            if found.is_some()
                && found != now.identity_print
                && let Some(identity) = source.read()
            {
                now.identity_print = found;
                now.identity = Some(identity);
            }
        }
        if let Some(authorities) = &now.authorities {
            let mut store = X509StoreBuilder::new()?;
            for authority in authorities {
                store.add_cert(authority.clone())?;
            }
            ssl.set_verify_cert_store(store.build())?;
        }
        match &now.identity {
            Some(identity) => identity.give(ssl),
            None => Ok(()),
        }
    }
}

impl Source {
    fn files(&self) -> Vec<&PathBuf> {
        match self {
            Source::Pem {
                certificate, key, ..
            } => vec![certificate, key],
            Source::KeyStore { file, .. } => vec![file],
        }
    }

    /// The certificate and its key; `None` if they cannot be read or do not match.
    fn read(&self) -> Option<Identity> {
        let identity = match self {
            Source::Pem {
                certificate,
                key,
                password,
            } => {
                let mut chain = X509::stack_from_pem(&std::fs::read(certificate).ok()?).ok()?;
                let key = std::fs::read(key).ok()?;
                // With a password, even an empty one, OpenSSL does not ask at the terminal.
                let password = password.as_ref().map_or("", Secret::expose);
                let key = PKey::private_key_from_pem_passphrase(&key, password.as_bytes()).ok()?;
                let certificate = (!chain.is_empty()).then(|| chain.remove(0))?;
                Identity {
                    certificate,
                    chain,
                    key,
                }
            }
            Source::KeyStore { file, password } => {
                let store = Pkcs12::from_der(&std::fs::read(file).ok()?).ok()?;
                let store = store.parse2(password.expose()).ok()?;
                Identity {
                    certificate: store.cert?,
                    chain: store.ca.into_iter().flatten().collect(),
                    key: store.pkey?,
                }
            }
        };
        let public = identity.certificate.public_key().ok()?;
        public.public_eq(&identity.key).then_some(identity)
    }
}

impl Identity {
    fn give(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        // SAFETY: the connection is live and its handshake has not begun to use them. One of
        // another kind of key would else stay beside the new one.
        unsafe { SSL_certs_clear(ssl.as_ptr()) };
        ssl.set_certificate(&self.certificate)?;
        ssl.set_private_key(&self.key)?;
        for certificate in &self.chain {
            ssl.add_chain_cert(certificate.clone())?;
        }
        Ok(())
    }
}

/// `None` if a file cannot be read.
fn print(files: &[&PathBuf]) -> Option<Print> {
    let mut print = Sha256::new();
    for file in files {
        let content = std::fs::read(file).ok()?;
        print.update((content.len() as u64).to_be_bytes());
        print.update(content);
    }
    Some(print.finalize().into())
}

thread_local! {
    /// The files of the client that this thread creates.
    static CREATING: Cell<*const Files> = const { Cell::new(null()) };
}

/// Calls `create`, which creates a client of librdkafka's. The files must live as long as the client.
pub(super) fn with_files<T>(files: Option<&Files>, create: impl FnOnce() -> T) -> T {
    // Before a context is created that is to be caught.
    index();
    CREATING.set(files.map_or(null(), std::ptr::from_ref));
    let created = create();
    CREATING.set(null());
    created
}

/// Where a context keeps its files.
fn index() -> c_int {
    static INDEX: OnceLock<c_int> = OnceLock::new();
    // SAFETY: registers a function that lives as long as the process.
    *INDEX.get_or_init(|| unsafe {
        ffi::SSL_CTX_get_ex_new_index(0, null_mut(), Some(created), None, None)
    })
}

/// Called by OpenSSL for each new context of this process.
unsafe extern "C" fn created(
    context: *mut c_void,
    _: *mut c_void,
    _: *mut ffi::CRYPTO_EX_DATA,
    index: c_int,
    _: c_long,
    _: *mut c_void,
) {
    let files = CREATING.try_with(Cell::get).unwrap_or(null());
    if files.is_null() {
        return;
    }
    // SAFETY: OpenSSL passes the context, whose data and certificates are there by now, and which
    // no other thread has yet.
    unsafe {
        let context = context.cast::<ffi::SSL_CTX>();
        if ffi::SSL_CTX_set_ex_data(context, index, files.cast_mut().cast()) == 1 {
            SSL_CTX_set_info_callback(context, Some(at_handshake));
        }
    }
}

/// Called by OpenSSL on a broker's thread, for each step of a handshake.
unsafe extern "C" fn at_handshake(ssl: *const ffi::SSL, kind: c_int, _: c_int) {
    if kind & HANDSHAKE_START == 0 {
        return;
    }
    // A panic must not unwind into C.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: OpenSSL passes a live connection, which this thread alone uses, of a context that
        // `created` gave its files, which live as long as the client.
        let (ssl, files) = unsafe {
            let files = ffi::SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), index());
            let Some(files) = files.cast::<Files>().as_ref() else {
                return;
            };
            (SslRef::from_ptr_mut(ssl.cast_mut()), files)
        };
        // TLS 1.3 calls its later messages handshakes too.
        if ssl.peer_certificate().is_none() {
            // Without what could not be given, the handshake says what is wrong.
            let _ = files.refresh(ssl);
        }
        // librdkafka takes what it finds there for its own.
        drop(ErrorStack::get());
    }));
}

#[cfg(test)]
mod tests;
