//! The TLS part of a connection's settings: which certificates and keys apply, and whether their
//! files can be read.

use super::ConnectionSettings;
use super::mapping::{PEM_OR_FILE, PropertyMap};
use super::material::unreadable;
use crate::Result;

impl ConnectionSettings {
    /// Reduces the TLS properties to those that apply: none without TLS, PEM text rather than a file,
    /// certificate and key rather than a key store.
    pub(super) fn choose_tls_properties(&self, properties: &mut PropertyMap) {
        if !self.security_protocol.uses_tls() {
            let verification = "enable.ssl.certificate.verification";
            properties.retain(|name| !name.starts_with("ssl.") && name != verification);
            return;
        }
        for [pem, file] in PEM_OR_FILE {
            if properties.get(pem).is_some() {
                properties.remove(file);
            }
        }
        if self.ssl_ca_pem.is_none() && self.ssl_ca_location.is_none() {
            // OpenSSL is linked in and does not know where this system keeps its CA certificates.
            properties.set("ssl.ca.location", "probe");
        }
        if self.has_certificate() || self.ssl_keystore_location.is_none() {
            properties.remove("ssl.keystore.location");
            properties.remove("ssl.keystore.password");
        } else if self.ssl_keystore_password.is_none() {
            // librdkafka requires a password; that of a PKCS#12 file may be empty.
            properties.set("ssl.keystore.password", "");
        }
    }

    fn has_certificate(&self) -> bool {
        self.ssl_certificate_pem.is_some()
            || self.ssl_certificate_location.is_some()
            || self.ssl_key_pem.is_some()
            || self.ssl_key_location.is_some()
    }

    /// Checks that the named files can be read; for one that cannot, librdkafka only has OpenSSL's
    /// message.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming `setting` and `path`.
    pub fn check_files(&self) -> Result<()> {
        if !self.security_protocol.uses_tls() {
            return Ok(());
        }
        let keystore = if self.has_certificate() {
            &None
        } else {
            &self.ssl_keystore_location
        };
        let files = [
            ("ssl_ca_location", &self.ssl_ca_location),
            ("ssl_certificate_location", &self.ssl_certificate_location),
            ("ssl_key_location", &self.ssl_key_location),
            ("ssl_keystore_location", keystore),
        ];
        for (setting, path) in files {
            let Some(path) = path else { continue };
            let readable = match std::fs::metadata(path) {
                // librdkafka accepts a directory for the CA certificates alone.
                Ok(found) if found.is_dir() && setting == "ssl_ca_location" => Ok(()),
                Ok(_) | Err(_) => std::fs::File::open(path).map(drop),
            };
            if let Err(error) = readable {
                return Err(unreadable(setting, path, error));
            }
        }
        Ok(())
    }
}
