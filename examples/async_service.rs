//! An HTTP service on tokio that tells what it does: every event of a request carries the request's
//! correlation id, and the answer leaves when its events are safe.
//!
//! ```sh
//! cargo run --release -p carbon-events-examples --example async_service -- --port 8080
//! curl -i -H 'x-correlation-id: order-17' http://127.0.0.1:8080/datasets/prices
//! ```

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use carbon_events::events::{
    ActionResult, AuditAPICallEvent, AuditDataAccessEvent, DataAccessType,
};
use carbon_events::{EventId, EventProducer};
use clap::Parser;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

const CORRELATION_ID: &str = "x-correlation-id";
const SERVICE: &str = "catalogue";
/// What the one table of this service says.
const ROWS: &str = "hub,price\nttf,31.2\n";

/// Serve a dataset over HTTP and tell who read it
#[derive(Parser)]
struct Options {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What the events of one request have in common.
struct Scope {
    events: EventProducer,
    correlation_id: String,
    client: String,
    user: Option<String>,
}

impl Scope {
    /// Takes over the caller's correlation id, so that its events and ours belong together.
    fn new(events: EventProducer, client: IpAddr, request: &Request<Incoming>) -> Self {
        let header = |name| {
            request
                .headers()
                .get(name)?
                .to_str()
                .ok()
                .map(str::to_owned)
        };
        Scope {
            events,
            correlation_id: header(CORRELATION_ID)
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| EventId::generate().to_string()),
            client: client.to_string(),
            user: header("x-user"),
        }
    }

    /// Who read the dataset; returns when the brokers have it.
    async fn dataset_read(&self, dataset: &str) -> carbon_events::Result<()> {
        let event = AuditDataAccessEvent::builder()
            .correlation_id(&self.correlation_id)
            .user_id(self.user.as_deref().unwrap_or("anonymous"))
            .dataset_name(dataset)
            .access_type(DataAccessType::Read)
            .tool(SERVICE)
            .row_count(1)
            .size_bytes(ROWS.len() as i64)
            .result(ActionResult::Success)
            .ip_address(&self.client)
            .build()?;
        self.events.send_async(&event).await?.await?;
        Ok(())
    }

    /// How the request was answered. Nobody waits for this one.
    async fn answered(
        &self,
        method: &str,
        path: &str,
        status: StatusCode,
        bytes: usize,
        took: Duration,
    ) -> carbon_events::Result<()> {
        let event = AuditAPICallEvent::builder()
            .correlation_id(&self.correlation_id)
            .service(SERVICE)
            .endpoint(path)
            .method(method)
            .status_code(i32::from(status.as_u16()))
            .latency_ms(took.as_millis() as i64)
            .request_size_bytes(0)
            .response_size_bytes(bytes as i64)
            .user_id(self.user.as_deref())
            .ip_address(&self.client)
            .build()?;
        drop(self.events.send_async(&event).await?);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let events = EventProducer::from_env().service_name(SERVICE).build()?;
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on http://{}", listener.local_addr()?);

    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, client) = accepted?;
                connections.spawn(serve(stream, client, events.clone()));
            }
            // Those that are done, so that they do not pile up.
            Some(_) = connections.join_next() => {}
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    // `close` waits for deliveries and blocks; the runtime's own threads must not.
    let closed = tokio::task::spawn_blocking(move || {
        let closed = events.close(Duration::from_secs(10));
        println!("{} events delivered", events.stats().delivered);
        closed
    });
    Ok(closed.await??)
}

async fn serve(stream: tokio::net::TcpStream, client: SocketAddr, events: EventProducer) {
    let handler = service_fn(|request| handle(events.clone(), client.ip(), request));
    let served = http1::Builder::new()
        // One request a connection, so that none is left open when the service ends.
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(TokioIo::new(stream), handler);
    if let Err(error) = served.await {
        eprintln!("{client}: {error}");
    }
}

async fn handle(
    events: EventProducer,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let began = Instant::now();
    let scope = Scope::new(events, client, &request);
    let path = request.uri().path();
    let (status, body) = match path.strip_prefix("/datasets/") {
        Some(dataset) if !dataset.is_empty() => match scope.dataset_read(dataset).await {
            Ok(()) => (StatusCode::OK, ROWS),
            // What cannot be told must not be shown.
            Err(error) => {
                eprintln!("{}: {error}", scope.correlation_id);
                (StatusCode::SERVICE_UNAVAILABLE, "try again later\n")
            }
        },
        _ => (StatusCode::NOT_FOUND, "no such dataset\n"),
    };
    let method = request.method().as_str();
    let told = scope.answered(method, path, status, body.len(), began.elapsed());
    if let Err(error) = told.await {
        eprintln!("{}: {error}", scope.correlation_id);
    }
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(id) = HeaderValue::from_str(&scope.correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    Ok(response)
}
