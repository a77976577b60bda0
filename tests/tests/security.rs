//! Who may do what on a broker with TLS, SASL and access rules: every way in that works, and a clear
//! error in time, without a secret in it, for every one that does not.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use carbon_events::admin::Admin;
use carbon_events::config::{
    ConnectionSettings, OAuthToken, ProducerSettings, RegistrySettings, SaslMechanism,
    SecurityProtocol, StartPosition, TokenProvider,
};
use carbon_events::{DeliveryReport, Error, ErrorKind, EventConsumer, EventProducer, Topic};
use carbon_events_services::{
    CLIENT, Certs, Identity, KEY_PASSWORD, Kafka, READER_USER, Registry, User, WRITER_USER, shared,
};
use carbon_events_tests::{assert_kind, read_to_end, reading_error, typical};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509NameBuilder};

/// How long a record may take before it fails.
const DEADLINE: Duration = Duration::from_secs(6);
/// What a busy machine adds to it.
const GRACE: Duration = Duration::from_secs(6);
const WRONG_PASSWORD: &str = "a-wrong-secret";

fn kafka() -> &'static Kafka {
    &shared().kafka
}

fn certs() -> &'static Certs {
    kafka().certs().expect("certificates")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a PEM file")
}

fn path(path: &Path) -> String {
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// The TLS listener, trusted, without a certificate of ours.
fn tls() -> ConnectionSettings {
    ConnectionSettings::new(kafka().tls_bootstrap_servers())
        .security_protocol(SecurityProtocol::Ssl)
        .ssl_ca_location(path(&certs().ca()))
        .service_name("tests")
}

fn with_files(identity: &Identity) -> ConnectionSettings {
    tls()
        .ssl_certificate_location(path(&identity.certificate))
        .ssl_key_location(path(&identity.key))
}

fn sasl(mechanism: SaslMechanism, user: User) -> ConnectionSettings {
    ConnectionSettings::new(kafka().sasl_tls_bootstrap_servers())
        .security_protocol(SecurityProtocol::SaslSsl)
        .ssl_ca_location(path(&certs().ca()))
        .sasl_mechanism(mechanism)
        .sasl_username(user.name)
        .sasl_password(user.password)
        .service_name("tests")
}

/// Makes the topic of health events, once for all tests.
fn topic() -> &'static str {
    static MADE: std::sync::Once = std::sync::Once::new();
    let name = Topic::SystemHealth.name();
    MADE.call_once(|| kafka().create_topic(name, 1, &[]).expect("a topic"));
    name
}

/// Sends one event; its outcome must be there at its deadline.
fn send(connection: ConnectionSettings) -> Result<DeliveryReport, Error> {
    send_with(connection, None)
}

fn send_with(
    connection: ConnectionSettings,
    tokens: Option<TokenProvider>,
) -> Result<DeliveryReport, Error> {
    topic();
    let mut builder = EventProducer::builder()
        .connection(connection)
        .producer(ProducerSettings::default().delivery_timeout(DEADLINE));
    if let Some(tokens) = tokens {
        builder = builder.token_provider(tokens);
    }
    let producer = builder.build()?;
    let began = Instant::now();
    let outcome = producer
        .any(&typical(Topic::SystemHealth).event)
        .send()?
        .wait();
    let took = began.elapsed();
    assert!(took < DEADLINE + GRACE, "it took {took:?}");
    outcome
}

fn consumer(connection: ConnectionSettings) -> EventConsumer {
    EventConsumer::builder()
        .connection(connection)
        .topic(topic())
        .standalone()
        .detect_end()
        .build()
        .expect("a consumer")
}

fn admin(connection: ConnectionSettings) -> Admin {
    let admin = Admin::builder().connection(connection).timeout(DEADLINE);
    admin.build().expect("an admin")
}

/// Everything that anyone gets to see of an error.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error}\n{error:?}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        shown.push_str(&format!("{cause}\n{cause:?}\n"));
        source = cause.source();
    }
    shown
}

/// Asserts that an error is of this kind and says none of our secrets.
#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind) {
    assert_kind(error, kind);
    let shown = shown(error);
    let secrets = [
        KEY_PASSWORD,
        WRONG_PASSWORD,
        WRITER_USER.password,
        READER_USER.password,
        "PRIVATE KEY",
    ];
    for secret in secrets {
        assert!(!shown.contains(secret), "a secret stands in {shown}");
    }
}

#[test]
fn a_client_certificate_works_as_files_as_text_encrypted_and_as_a_key_store() {
    let client = certs().client();
    let encrypted = certs().encrypted_client().unwrap();
    let ways = [
        ("files", with_files(&client)),
        (
            "text",
            tls()
                .ssl_ca_pem(text(&certs().ca()))
                .ssl_certificate_pem(text(&client.certificate))
                .ssl_key_pem(text(&client.key)),
        ),
        (
            "encrypted",
            with_files(&encrypted).ssl_key_password(KEY_PASSWORD),
        ),
        (
            "encrypted text",
            tls()
                .ssl_certificate_pem(text(&encrypted.certificate))
                .ssl_key_pem(text(&encrypted.key))
                .ssl_key_password(KEY_PASSWORD),
        ),
        (
            "key store",
            tls()
                .ssl_keystore_location(path(&certs().client_keystore().unwrap()))
                .ssl_keystore_password(KEY_PASSWORD),
        ),
    ];
    for (way, connection) in ways {
        let report = send(connection.clone()).unwrap_or_else(|error| panic!("{way}: {error}"));
        let read = read_to_end(&consumer(connection.clone()));
        let found = read.iter().find(|read| read.offset == report.offset);
        let event = found.unwrap().event.as_ref().unwrap();
        assert_eq!(event, &typical(Topic::SystemHealth).written, "{way}");
        admin(connection).diff(&Default::default()).unwrap();
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_an_authentication_error_in_time() {
    let wrong = [
        ("stranger", with_files(&certs().stranger())),
        ("no certificate", tls()),
        (
            "wrong authority",
            with_files(&certs().client()).ssl_ca_location(path(&certs().stranger_ca())),
        ),
    ];
    std::thread::scope(|scope| {
        for (case, connection) in wrong {
            scope.spawn(move || {
                let error = send(connection.clone()).expect_err(case);
                assert_refused(&error, ErrorKind::Authentication);
                assert_eq!(error.get("topic"), Some(topic()), "{case}: {error}");
                let error = reading_error(&consumer(connection.clone()), DEADLINE + GRACE);
                assert_refused(&error, ErrorKind::Authentication);
                let error = admin(connection).diff(&Default::default()).expect_err(case);
                assert_refused(&error, ErrorKind::Authentication);
            });
        }
    });
}

#[test]
fn a_broker_that_is_not_who_it_should_be_is_taken_only_where_that_is_asked_for() {
    let wrong = with_files(&certs().client()).ssl_ca_location(path(&certs().stranger_ca()));
    send(wrong.reject_unauthorized(false)).unwrap();
}

/// A client's certificate and key as a test's own, signed by the brokers' authority or by one below it.
struct Made {
    key: PKey<Private>,
    certificate: X509,
    /// Signed the certificate, and is signed by the brokers' authority.
    intermediate: Option<X509>,
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
}

fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// A certificate that `issuer` signs with its key, by SHA-256 as every algorithm here can.
fn certificate(name: &str, key: &PKey<Private>, issuer: (&X509, &PKey<Private>), ca: bool) -> X509 {
    let end = Asn1Time::days_from_now(2).expect("a time");
    certificate_until(&end, name, key, issuer, ca)
}

fn certificate_until(
    end: &Asn1TimeRef,
    name: &str,
    key: &PKey<Private>,
    issuer: (&X509, &PKey<Private>),
    ca: bool,
) -> X509 {
    let make = || -> Result<X509, openssl::error::ErrorStack> {
        let mut subject = X509NameBuilder::new()?;
        subject.append_entry_by_text("CN", name)?;
        let subject = subject.build();
        let mut serial = BigNum::new()?;
        serial.rand(127, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
        let mut made = X509::builder()?;
        made.set_version(2)?;
        made.set_serial_number(&*serial.to_asn1_integer()?)?;
        made.set_subject_name(&subject)?;
        made.set_issuer_name(issuer.0.subject_name())?;
        made.set_pubkey(key)?;
        made.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        made.set_not_after(end)?;
        let mut constraints = BasicConstraints::new();
        if ca {
            constraints.ca();
        }
        made.append_extension(constraints.critical().build()?)?;
        made.sign(issuer.1, MessageDigest::sha256())?;
        Ok(made.build())
    };
    make().expect("a certificate")
}

impl Made {
    fn new(key: PKey<Private>, below_an_intermediate: bool) -> Self {
        let ca = X509::from_pem(text(&certs().ca()).as_bytes()).expect("a certificate");
        let ca_key = text(&certs().ca_key());
        let ca_key = PKey::private_key_from_pem(ca_key.as_bytes()).expect("a key");
        let between = below_an_intermediate.then(|| {
            let key = rsa();
            let name = "carbon-events test intermediate";
            (certificate(name, &key, (&ca, &ca_key), true), key)
        });
        let issuer = between
            .as_ref()
            .map_or((&ca, &ca_key), |(issuer, key)| (issuer, key));
        Made {
            certificate: certificate(CLIENT, &key, issuer, false),
            intermediate: between.map(|(issuer, _)| issuer),
            key,
        }
    }

    /// The certificate, and what it is signed by but for the brokers' authority.
    fn chain(&self) -> String {
        let all = std::iter::once(&self.certificate).chain(&self.intermediate);
        let pem = all.map(|one| String::from_utf8(one.to_pem().expect("PEM")).expect("UTF-8"));
        pem.collect()
    }

    fn plain_key(&self) -> String {
        utf8(self.key.private_key_to_pem_pkcs8())
    }

    /// PKCS #8 under [`KEY_PASSWORD`].
    fn encrypted_key(&self) -> String {
        let cipher = Cipher::aes_256_cbc();
        let password = KEY_PASSWORD.as_bytes();
        utf8(
            self.key
                .private_key_to_pem_pkcs8_passphrase(cipher, password),
        )
    }

    /// PKCS #1, or SEC 1 for an elliptic curve, under [`KEY_PASSWORD`].
    fn traditional_key(&self) -> String {
        let (cipher, password) = (Cipher::aes_256_cbc(), KEY_PASSWORD.as_bytes());
        utf8(match self.key.rsa() {
            Ok(key) => key.private_key_to_pem_passphrase(cipher, password),
            Err(_) => self
                .key
                .ec_key()
                .and_then(|key| key.private_key_to_pem_passphrase(cipher, password)),
        })
    }

    fn key_store(&self) -> Vec<u8> {
        let mut store = Pkcs12::builder();
        store.name("client").pkey(&self.key).cert(&self.certificate);
        if let Some(intermediate) = &self.intermediate {
            let mut below = openssl::stack::Stack::new().expect("a stack");
            below.push(intermediate.clone()).expect("a stack");
            store.ca(below);
        }
        let made = store.build2(KEY_PASSWORD).and_then(|made| made.to_der());
        made.expect("a key store")
    }
}

fn utf8(pem: Result<Vec<u8>, openssl::error::ErrorStack>) -> String {
    String::from_utf8(pem.expect("PEM")).expect("UTF-8")
}

fn file(directory: &tempfile::TempDir, content: impl AsRef<[u8]>) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let at = directory.path().join(number.to_string());
    fs::write(&at, content).expect("a file");
    path(&at)
}

#[test]
fn every_form_of_certificate_and_key_is_taken_as_files_as_text_and_as_properties() {
    let dir = tempfile::tempdir().unwrap();
    let (of_rsa, of_ec) = (Made::new(rsa(), false), Made::new(ec(), false));
    let of_ed25519 = Made::new(PKey::generate_ed25519().unwrap(), false);
    let below = Made::new(rsa(), true);
    let pairs = [
        ("PKCS #8", of_rsa.chain(), of_rsa.plain_key()),
        ("encrypted PKCS #8", of_rsa.chain(), of_rsa.encrypted_key()),
        (
            "encrypted PKCS #1",
            of_rsa.chain(),
            of_rsa.traditional_key(),
        ),
        ("an elliptic curve", of_ec.chain(), of_ec.encrypted_key()),
        ("encrypted SEC 1", of_ec.chain(), of_ec.traditional_key()),
        ("Ed25519", of_ed25519.chain(), of_ed25519.encrypted_key()),
        ("a chain", below.chain(), below.encrypted_key()),
        (
            "lines that end as on Windows",
            below.chain().replace('\n', "\r\n"),
            below.traditional_key().replace('\n', "\r\n"),
        ),
    ];
    let mut ways = Vec::new();
    for (what, certificate, key) in pairs {
        let (at, key_at) = (file(&dir, &certificate), file(&dir, &key));
        let files = tls()
            .ssl_certificate_location(at.as_str())
            .ssl_key_location(key_at.as_str())
            .ssl_key_password(KEY_PASSWORD);
        let texts = tls()
            .ssl_certificate_pem(certificate.as_str())
            .ssl_key_pem(key.as_str())
            .ssl_key_password(KEY_PASSWORD);
        let properties = tls()
            .property("ssl.certificate.location", at)
            .property("ssl.key.location", key_at)
            .property("ssl.key.password", KEY_PASSWORD);
        ways.push((format!("{what}, files"), files));
        ways.push((format!("{what}, text"), texts));
        ways.push((format!("{what}, properties"), properties));
    }
    for (what, made) in [
        ("a key store", &of_rsa),
        ("a key store with a chain", &below),
    ] {
        let at = file(&dir, made.key_store());
        let given = tls()
            .ssl_keystore_location(at.as_str())
            .ssl_keystore_password(KEY_PASSWORD);
        let properties = tls()
            .property("ssl.keystore.location", at)
            .property("ssl.keystore.password", KEY_PASSWORD);
        ways.push((what.to_owned(), given));
        ways.push((format!("{what}, properties"), properties));
    }
    let authorities = text(&certs().stranger_ca()) + &text(&certs().ca());
    let client = with_files(&certs().client());
    ways.push((
        "several authorities, files".to_owned(),
        client.clone().ssl_ca_location(file(&dir, &authorities)),
    ));
    let windows = authorities.replace('\n', "\r\n");
    ways.push((
        "several authorities, text".to_owned(),
        client.ssl_ca_pem(windows),
    ));
    let failed: Vec<String> = ways
        .into_iter()
        .filter_map(|(way, connection)| Some(format!("{way}: {}", send(connection).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn material_that_cannot_be_used_is_refused_by_its_setting_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (made, other) = (Made::new(rsa(), false), rsa());
    let der = made.key.private_key_to_der().unwrap();
    let flat = |text: String| text.replace('\n', "\\n");
    let with_key = |key: &[u8]| {
        tls()
            .ssl_certificate_location(file(&dir, made.chain()))
            .ssl_key_location(file(&dir, key))
    };
    let with_text = |key: String| tls().ssl_certificate_pem(made.chain()).ssl_key_pem(key);
    let store = file(&dir, made.key_store());
    let with_store = || tls().ssl_keystore_location(store.as_str());
    let missing = path(&certs().ca().with_file_name("no-such-key.pem"));
    let wrong = [
        ("ssl_key_password", "does not open", {
            with_key(made.encrypted_key().as_bytes()).ssl_key_password(WRONG_PASSWORD)
        }),
        ("ssl_key_password", "does not open", {
            with_key(made.traditional_key().as_bytes()).ssl_key_password(WRONG_PASSWORD)
        }),
        ("ssl_key_password", "does not open", {
            with_text(made.encrypted_key()).ssl_key_password(WRONG_PASSWORD)
        }),
        ("ssl_key_password", "is encrypted", {
            with_key(made.traditional_key().as_bytes())
        }),
        (
            "ssl_key_password",
            "is encrypted",
            with_text(made.encrypted_key()),
        ),
        ("ssl_key_password", "does not open", {
            let key = file(&dir, made.encrypted_key());
            tls()
                .property("ssl.certificate.location", file(&dir, made.chain()))
                .property("ssl.key.location", key)
                .property("ssl.key.password", WRONG_PASSWORD)
        }),
        ("ssl_keystore_password", "does not open", {
            with_store().ssl_keystore_password(WRONG_PASSWORD)
        }),
        ("ssl_keystore_password", "has a password", with_store()),
        ("ssl_keystore_location", "is not a PKCS#12 file", {
            tls().ssl_keystore_location(file(&dir, made.chain()))
        }),
        ("ssl_keystore_location", "Java key store", {
            tls()
                .ssl_keystore_location(file(&dir, [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2]))
                .ssl_keystore_password(KEY_PASSWORD)
        }),
        ("ssl_key_location", "-inform der", with_key(&der)),
        ("ssl_key_location", "does not belong to the certificate", {
            with_key(&other.private_key_to_pem_pkcs8().unwrap())
        }),
        (
            "ssl_key_location",
            "contains no",
            with_key(made.chain().as_bytes()),
        ),
        ("ssl_key_location", "line breaks", {
            with_key(flat(made.plain_key()).as_bytes())
        }),
        (
            "ssl_key_pem",
            "line breaks",
            with_text(flat(made.plain_key())),
        ),
        ("ssl_certificate_pem", "line breaks", {
            tls()
                .ssl_certificate_pem(flat(made.chain()))
                .ssl_key_pem(made.plain_key())
        }),
        ("ssl_ca_pem", "line breaks", {
            tls().ssl_ca_pem(flat(text(&certs().ca())))
        }),
        ("ssl_ca_location", "contains no", {
            tls().ssl_ca_location(file(&dir, made.plain_key()))
        }),
        ("ssl_certificate_location", "without its certificate", {
            tls().ssl_key_location(file(&dir, made.plain_key()))
        }),
        ("ssl_key_location", "cannot be read", {
            with_key(b"").ssl_key_location(missing.as_str())
        }),
        ("ssl_key_location", "cannot be read", {
            tls()
                .property("ssl.certificate.location", file(&dir, made.chain()))
                .property("ssl.key.location", missing.as_str())
        }),
    ];
    for (setting, what, connection) in wrong {
        let began = Instant::now();
        let error = send(connection).expect_err(what);
        assert_refused(&error, ErrorKind::InvalidConfig);
        assert_eq!(error.get("setting"), Some(setting), "{error}");
        assert!(error.message().contains(what), "{what}: {error}");
        assert!(error.message().contains(setting), "{error}");
        assert!(began.elapsed() < DEADLINE);
    }
}

#[test]
fn each_sasl_mechanism_takes_the_password_and_no_other() {
    use SaslMechanism::{Plain, ScramSha256, ScramSha512};
    for mechanism in [Plain, ScramSha256, ScramSha512] {
        send(sasl(mechanism, WRITER_USER)).unwrap_or_else(|error| panic!("{mechanism:?}: {error}"));
        let without_tls = sasl(mechanism, WRITER_USER)
            .bootstrap_servers(kafka().sasl_bootstrap_servers())
            .security_protocol(SecurityProtocol::SaslPlaintext);
        send(without_tls).unwrap_or_else(|error| panic!("{mechanism:?}: {error}"));
    }
    std::thread::scope(|scope| {
        for mechanism in [Plain, ScramSha256, ScramSha512] {
            scope.spawn(move || {
                let password = WRONG_PASSWORD;
                let wrong = sasl(
                    mechanism,
                    User {
                        password,
                        ..WRITER_USER
                    },
                );
                let error = send(wrong.clone()).unwrap_err();
                assert_refused(&error, ErrorKind::Authentication);
                let error = reading_error(&consumer(wrong), DEADLINE + GRACE);
                assert_refused(&error, ErrorKind::Authentication);
            });
        }
    });
}

/// A token of `principal` that nobody signed, which the test's broker takes.
fn unsigned_token(principal: &str) -> OAuthToken {
    let now = std::time::SystemTime::now();
    let since_1970 = now.duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let expires = since_1970.as_secs() + 3600;
    let claims = format!(
        r#"{{"sub": "{principal}", "iat": {}, "exp": {expires}}}"#,
        since_1970.as_secs()
    );
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims));
    OAuthToken {
        token: token.into(),
        principal: principal.to_owned(),
        expires_at_ms: (expires * 1000) as i64,
        extensions: Vec::new(),
    }
}

fn tokens_of(principal: &'static str) -> TokenProvider {
    TokenProvider::new(move || Ok(unsigned_token(principal)))
}

fn oauth() -> ConnectionSettings {
    ConnectionSettings::new(kafka().sasl_tls_bootstrap_servers())
        .security_protocol(SecurityProtocol::SaslSsl)
        .ssl_ca_location(path(&certs().ca()))
        .sasl_mechanism(SaslMechanism::OAuthBearer)
        .service_name("tests")
}

#[test]
fn a_tokens_principal_has_its_rights_and_no_token_is_a_clear_error() {
    send_with(oauth(), Some(tokens_of(WRITER_USER.name))).unwrap();
    let error = send_with(oauth(), Some(tokens_of("somebody"))).unwrap_err();
    assert_refused(&error, ErrorKind::Authorization);
    let failing = TokenProvider::new(|| {
        Err(Error::new(
            ErrorKind::Unavailable,
            "the token service is down",
        ))
    });
    let error = send_with(oauth(), Some(failing)).unwrap_err();
    assert_refused(&error, ErrorKind::Authentication);
    assert!(
        shown(&error).contains("the token service is down"),
        "{error}"
    );
}

#[test]
fn who_may_only_read_reads_and_cannot_write() {
    let by_certificate = with_files(&certs().reader());
    let by_password = sasl(SaslMechanism::ScramSha512, READER_USER);
    for connection in [by_certificate, by_password] {
        let offset = send(with_files(&certs().client())).unwrap().offset;
        let error = send(connection.clone()).unwrap_err();
        assert_refused(&error, ErrorKind::Authorization);
        assert_eq!(error.get("topic"), Some(topic()), "{error}");
        let read = read_to_end(&consumer(connection.clone()));
        assert!(read.iter().any(|read| read.offset == offset));
        let applied = admin(connection).create_missing(&Default::default());
        let error = applied.and_then(|applied| applied.into_result());
        assert_refused(&error.unwrap_err(), ErrorKind::Authorization);
    }
}

#[test]
fn who_may_not_read_hears_it_from_topic_and_group() {
    let builder = || {
        EventConsumer::builder()
            .connection(oauth())
            .token_provider(tokens_of("somebody"))
            .topic(topic())
    };
    let alone = builder().standalone().build().unwrap();
    let error = reading_error(&alone, DEADLINE + GRACE);
    assert_refused(&error, ErrorKind::Authorization);
    let member = builder().group_id("not-mine").build().unwrap();
    let error = reading_error(&member, DEADLINE + GRACE);
    assert_refused(&error, ErrorKind::Authorization);
}

#[test]
fn a_registry_over_tls_is_trusted_by_its_authority_alone() {
    let registry = Registry::start_with_tls(certs()).unwrap();
    let url = registry.tls_url().unwrap();
    let send = |settings: RegistrySettings| {
        topic();
        let producer = EventProducer::builder()
            .connection(with_files(&certs().client()))
            .producer(ProducerSettings::default().delivery_timeout(DEADLINE))
            .registry(settings)
            .build()?;
        let event = typical(Topic::SystemHealth).event;
        producer.any(&event).send()?.wait()
    };
    let settings = || RegistrySettings::new(url.as_str());
    send(settings().ssl_ca_location(path(&certs().ca()))).unwrap();
    send(settings().ssl_ca_pem(text(&certs().ca()))).unwrap();
    send(settings().reject_unauthorized(false)).unwrap();
    for wrong in [
        settings(),
        settings().ssl_ca_location(path(&certs().stranger_ca())),
    ] {
        let error = send(wrong.username("me").password(WRONG_PASSWORD)).unwrap_err();
        assert_refused(&error, ErrorKind::Authentication);
    }
}

/// As cert-manager does: the files are replaced while the process runs, and then the first
/// certificate ends.
#[test]
fn clients_outlive_a_certificate_that_is_renewed_on_disk() {
    let kafka = Kafka::builder().tls(true).start().expect("a broker");
    let certs = kafka.certs().expect("certificates");
    let topic = "renewed";
    kafka.create_topic(topic, 1, &[]).expect("a topic");
    let ca = X509::from_pem(text(&certs.ca()).as_bytes()).expect("a certificate");
    let ca_key = PKey::private_key_from_pem(text(&certs.ca_key()).as_bytes()).expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate_file, key_file) =
        (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let issue = |key: PKey<Private>, seconds: u64| {
        let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("a time");
        let end = Asn1Time::from_unix((since_1970.as_secs() + seconds) as i64).expect("a time");
        let one = certificate_until(&end, CLIENT, &key, (&ca, &ca_key), false);
        fs::write(&certificate_file, one.to_pem().expect("PEM")).expect("a file");
        let key = key.private_key_to_pem_pkcs8().expect("PEM");
        fs::write(&key_file, key).expect("a file");
    };
    let connection = || {
        ConnectionSettings::new(kafka.tls_bootstrap_servers())
            .security_protocol(SecurityProtocol::Ssl)
            .ssl_ca_location(path(&certs.ca()))
            .ssl_certificate_location(path(&certificate_file))
            .ssl_key_location(path(&key_file))
            .service_name("tests")
    };
    let lifetime = Duration::from_secs(8);
    issue(rsa(), lifetime.as_secs());
    let began = Instant::now();
    let producer = EventProducer::builder().connection(connection()).build();
    let producer = producer.expect("a producer");
    let consumer = EventConsumer::builder()
        .connection(connection())
        .topic(topic)
        .start(StartPosition::Earliest)
        .standalone()
        .build()
        .expect("a consumer");
    let read = |what: &[u8]| {
        let deadline = Instant::now() + 4 * DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "nothing was read");
            match consumer.next_batch(DEADLINE) {
                Ok(Some(batch)) => {
                    return assert_eq!(batch.iter().next().and_then(|one| one.value()), Some(what));
                }
                Ok(None) => {}
                Err(error) => assert!(error.retryable(), "{error}"),
            }
        }
    };
    let send = |value: &'static [u8]| producer.raw(topic).value(value).send();
    send(b"before")
        .and_then(|sent| sent.wait())
        .expect("a delivery");
    read(b"before");
    // Another kind of key, too.
    issue(ec(), 3600);
    std::thread::sleep((lifetime + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    // Every connection ends with the broker.
    kafka.restart(1).expect("a broker");
    send(b"after")
        .and_then(|sent| sent.wait())
        .expect("a delivery");
    read(b"after");
}
