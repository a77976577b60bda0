//! Who may do what on a broker with TLS, SASL and access rules: every way in that works, and a clear
//! error in time, without a secret in it, for every one that does not.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use carbon_events::admin::Admin;
use carbon_events::config::{
    ConnectionSettings, OAuthToken, ProducerSettings, RegistrySettings, SaslMechanism,
    SecurityProtocol, TokenProvider,
};
use carbon_events::{DeliveryReport, Error, ErrorKind, EventConsumer, EventProducer, Topic};
use carbon_events_services::{
    Certs, Identity, KEY_PASSWORD, Kafka, READER_USER, Registry, User, WRITER_USER, shared,
};
use carbon_events_tests::{assert_kind, read_to_end, reading_error, typical};

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

#[test]
fn a_key_that_does_not_open_is_refused_before_anything_is_sent() {
    let encrypted = certs().encrypted_client().unwrap();
    let wrong = [
        with_files(&encrypted).ssl_key_password(WRONG_PASSWORD),
        with_files(&encrypted),
        tls()
            .ssl_keystore_location(path(&certs().client_keystore().unwrap()))
            .ssl_keystore_password(WRONG_PASSWORD),
        with_files(&Identity {
            key: certs().ca().with_file_name("no-such-key.pem"),
            ..encrypted.clone()
        }),
    ];
    for connection in wrong {
        let began = Instant::now();
        let error = send(connection).unwrap_err();
        assert_refused(&error, ErrorKind::InvalidConfig);
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
