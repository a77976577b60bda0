//! Errors of unusable certificates, keys and key stores: which setting is wrong, and what to do.
//!
//! librdkafka returns OpenSSL's last error, such as `error:0A080009:SSL routines::PEM lib` for a wrong
//! password, a missing one, and a file of another format. Certificates and keys are read here only
//! after librdkafka has rejected them; an error never holds their content.

use rdkafka::ClientConfig;

use super::invalid;
use super::mapping::setting_of;
use crate::{Error, ErrorKind, Result};

/// Properties that hold a certificate or key, or the path of one.
const MATERIAL: &[(&str, Form)] = &[
    ("ssl.ca.location", Form::Authorities),
    ("ssl.ca.pem", Form::Authorities),
    ("ssl.certificate.location", Form::Certificate),
    ("ssl.certificate.pem", Form::Certificate),
    ("ssl.key.location", Form::Key),
    ("ssl.key.pem", Form::Key),
    ("ssl.keystore.location", Form::KeyStore),
];
pub(crate) const LINE_BREAKS: &str =
    "contains `\\n` as two characters: replace them by line breaks";

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Authorities,
    Certificate,
    Key,
    KeyStore,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Authorities => "the CA certificates",
            Form::Certificate => "the certificate",
            Form::Key => "the private key",
            Form::KeyStore => "the key store",
        }
    }

    /// The label of its block in a PEM file, after `-----BEGIN`.
    fn label(self) -> &'static str {
        match self {
            Form::Key => "PRIVATE KEY-----",
            _ => "CERTIFICATE-----",
        }
    }
}

/// The error of an unreadable file.
pub(super) fn unreadable(setting: &'static str, path: &str, error: std::io::Error) -> Error {
    invalid(setting, format!("{setting} cannot be read: {error}"))
        .with("path", path)
        .because(error)
}

/// Rejects PEM text whose line breaks a shell, a YAML file or a secret store has escaped.
pub(super) fn check_text(config: &ClientConfig) -> Result<()> {
    for (property, _) in MATERIAL {
        if property.ends_with(".pem")
            && let Some(text) = config.get(property)
            && let Some(setting) = setting_of(property)
            && text.contains("-----\\n")
        {
            return Err(invalid(setting, format!("{setting} {LINE_BREAKS}")));
        }
    }
    Ok(())
}

/// Explains why librdkafka rejects a configuration: which setting is wrong, and what to do.
pub(crate) fn explain_refusal(config: &ClientConfig, why: &str) -> Error {
    let named = MATERIAL.iter().find(|(property, _)| why.contains(property));
    if let Some((property, form)) = named
        && let Some(given) = config.get(property)
        && let Some(setting) = setting_of(property)
    {
        return match explain(config, why, setting, *form, property, given) {
            Ok(error) | Err(error) => error,
        };
    }
    if why.contains("no certificate assigned") {
        let message = "a private key is set without its certificate: set ssl_certificate_location \
                       (KAFKA_SSL_CERTIFICATE_LOCATION) or ssl_certificate_pem";
        return invalid("ssl_certificate_location", message);
    }
    Error::new(
        ErrorKind::InvalidConfig,
        format!("librdkafka rejects the settings: {why}"),
    )
}

fn explain(
    config: &ClientConfig,
    why: &str,
    setting: &'static str,
    form: Form,
    property: &str,
    given: &str,
) -> Result<Error> {
    let is_file = property.ends_with(".location");
    let bytes = if is_file {
        std::fs::read(given).map_err(|error| unreadable(setting, given, error))?
    } else {
        given.as_bytes().to_vec()
    };
    let (setting, message) = match form {
        Form::KeyStore => explain_key_store(config, why, &bytes),
        _ => explain_pem(config, why, setting, form, &bytes),
    };
    let error = invalid(setting, message);
    Ok(if is_file {
        error.with("path", given)
    } else {
        error
    })
}

fn has_password(config: &ClientConfig, property: &str) -> bool {
    config.get(property).is_some_and(|given| !given.is_empty())
}

fn explain_pem(
    config: &ClientConfig,
    why: &str,
    setting: &'static str,
    form: Form,
    bytes: &[u8],
) -> (&'static str, String) {
    let (name, text) = (form.name(), String::from_utf8_lossy(bytes));
    let verb = if form == Form::Authorities {
        "are"
    } else {
        "is"
    };
    if text.contains("-----\\n") {
        return (setting, format!("{setting} {LINE_BREAKS}"));
    }
    if !text.contains("-----BEGIN") {
        let how = match form {
            Form::Key => "openssl pkey -inform der",
            _ => "openssl x509 -inform der",
        };
        let message = format!("{name} in {setting} {verb} not in PEM: convert with `{how}`");
        return (setting, message);
    }
    if !text.contains(form.label()) {
        let what = match form {
            Form::Key => "private key",
            _ => "certificate",
        };
        let message = format!("{setting} contains no {what}: check that it is the right file");
        return (setting, message);
    }
    if why.contains("key values mismatch") {
        let message = format!("the private key in {setting} does not belong to the certificate");
        return (setting, message);
    }
    if form == Form::Key && text.contains("ENCRYPTED") {
        let message = if has_password(config, "ssl.key.password") {
            format!(
                "ssl_key_password does not open the private key in {setting}: check the password \
                 (ssl_key_password, KAFKA_SSL_KEY_PASSWORD)"
            )
        } else {
            format!(
                "the private key in {setting} is encrypted: set its password (ssl_key_password, \
                 KAFKA_SSL_KEY_PASSWORD)"
            )
        };
        return ("ssl_key_password", message);
    }
    let message = format!("{name} in {setting} cannot be parsed: truncated or corrupt");
    (setting, message)
}

fn explain_key_store(config: &ClientConfig, why: &str, bytes: &[u8]) -> (&'static str, String) {
    const LOCATION: &str = "ssl_keystore_location";
    const PASSWORD: &str = "ssl_keystore_password";
    if bytes.starts_with(&[0xFE, 0xED, 0xFE, 0xED]) {
        let message = format!(
            "{LOCATION} is a Java key store: convert with `keytool -importkeystore -srckeystore OLD \
             -destkeystore NEW.p12 -deststoretype PKCS12`"
        );
        return (LOCATION, message);
    }
    if bytes.first() != Some(&0x30) {
        return (LOCATION, format!("{LOCATION} is not a PKCS#12 file"));
    }
    if why.contains("unsupported") {
        let message = format!(
            "{LOCATION} is encrypted with an obsolete algorithm: convert with `openssl \
             pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW.p12`"
        );
        return (LOCATION, message);
    }
    if why.contains("mac verify failure") || why.contains("is mandatory") {
        let message = if has_password(config, "ssl.keystore.password") {
            format!(
                "{PASSWORD} does not open {LOCATION}: check the password ({PASSWORD}, \
                 KAFKA_SSL_KEYSTORE_PASSWORD)"
            )
        } else {
            format!("{LOCATION} has a password: set it ({PASSWORD}, KAFKA_SSL_KEYSTORE_PASSWORD)")
        };
        return (PASSWORD, message);
    }
    (
        LOCATION,
        format!("{LOCATION} cannot be parsed: truncated or corrupt"),
    )
}
