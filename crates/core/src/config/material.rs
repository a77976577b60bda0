//! Certificates, keys and key stores that cannot be used: which setting it is, and what to do.
//!
//! librdkafka gives OpenSSL's last error, such as `error:0A080009:SSL routines::PEM lib` for a wrong
//! password, a missing one, and a file of another format. The material itself is looked at only
//! once librdkafka has refused it; nothing of it stands in an error.

use rdkafka::ClientConfig;

use crate::{Error, ErrorKind, Result};

/// Properties that hold material or the path of it, with the setting of each.
const MATERIAL: &[(&str, &str, Form)] = &[
    ("ssl.ca.location", "ssl_ca_location", Form::Authorities),
    ("ssl.ca.pem", "ssl_ca_pem", Form::Authorities),
    (
        "ssl.certificate.location",
        "ssl_certificate_location",
        Form::Certificate,
    ),
    (
        "ssl.certificate.pem",
        "ssl_certificate_pem",
        Form::Certificate,
    ),
    ("ssl.key.location", "ssl_key_location", Form::Key),
    ("ssl.key.pem", "ssl_key_pem", Form::Key),
    (
        "ssl.keystore.location",
        "ssl_keystore_location",
        Form::KeyStore,
    ),
];
pub(crate) const LINE_BREAKS: &str =
    "holds `\\n` as two characters where its lines should break: put real line breaks there";

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
            Form::Authorities => "the authorities' certificates",
            Form::Certificate => "the certificate",
            Form::Key => "the private key",
            Form::KeyStore => "the key store",
        }
    }

    /// How its block in a PEM file begins, after `-----BEGIN`.
    fn label(self) -> &'static str {
        match self {
            Form::Key => "PRIVATE KEY-----",
            _ => "CERTIFICATE-----",
        }
    }
}

fn refused(setting: &'static str, message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with("setting", setting)
}

/// The error of a file that cannot be read.
pub(super) fn unreadable(setting: &'static str, path: &str, error: std::io::Error) -> Error {
    refused(setting, format!("{setting} cannot be read: {error}"))
        .with("path", path)
        .because(error)
}

/// Refuses PEM text that a shell, a YAML file or a secret store has flattened.
pub(super) fn check_text(config: &ClientConfig) -> Result<()> {
    for (property, setting, _) in MATERIAL {
        if property.ends_with(".pem")
            && let Some(text) = config.get(property)
            && text.contains("-----\\n")
        {
            return Err(refused(setting, format!("{setting} {LINE_BREAKS}")));
        }
    }
    Ok(())
}

/// librdkafka's refusal of a configuration, by the setting that it is about and with what to do.
pub(crate) fn explain_refusal(config: &ClientConfig, why: &str) -> Error {
    let setting = |property: &str, setting| why.contains(property).then_some(setting);
    let found = MATERIAL
        .iter()
        .find_map(|(property, name, form)| setting(property, (*property, *name, *form)))
        .filter(|(property, ..)| config.get(property).is_some());
    if let Some((property, setting, form)) = found {
        let given = config.get(property).unwrap_or_default();
        return match explain(config, why, setting, form, property, given) {
            Ok(error) | Err(error) => error,
        };
    }
    if why.contains("no certificate assigned") {
        let message = "a private key is given without its certificate: give ssl_certificate_location \
                       (KAFKA_SSL_CERTIFICATE_LOCATION) or ssl_certificate_pem";
        return refused("ssl_certificate_location", message.to_owned());
    }
    Error::new(
        ErrorKind::InvalidConfig,
        format!("librdkafka refuses the settings: {why}"),
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
    let error = refused(setting, message);
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
        let message = format!("{setting} holds no {what}: is it the right file?");
        return (setting, message);
    }
    if why.contains("key values mismatch") {
        let message = format!("the private key in {setting} is not the one of the certificate");
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
                "the private key in {setting} is encrypted: give its password (ssl_key_password, \
                 KAFKA_SSL_KEY_PASSWORD)"
            )
        };
        return ("ssl_key_password", message);
    }
    let message = format!("{name} in {setting} cannot be read; they may be cut off or damaged");
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
            "{LOCATION} is encrypted with an algorithm that is out of use: convert with `openssl \
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
            format!("{LOCATION} has a password: give it ({PASSWORD}, KAFKA_SSL_KEYSTORE_PASSWORD)")
        };
        return (PASSWORD, message);
    }
    (
        LOCATION,
        format!("{LOCATION} cannot be read; it may be cut off or damaged"),
    )
}
