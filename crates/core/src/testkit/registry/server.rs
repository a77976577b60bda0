//! The HTTP side: one thread with a runtime of its own, and a port that can refuse connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::store::Refusal;
use super::{RegistryCalls, RegistryFault, State, api};
use crate::registry::percent_decoded;
use crate::sync::Mutex;

const MAX_BODY_BYTES: usize = 16 << 20;

/// Turns listening on or off and says when that is done.
type Order = (bool, mpsc::SyncSender<()>);

/// The server's thread. It ends when this is dropped.
pub(super) struct Server {
    port: u16,
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(state: Arc<Mutex<State>>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (socket, port) = {
            let _entered = runtime.enter();
            let socket = bound_socket(0)?;
            let port = socket.local_addr()?.port();
            (socket, port)
        };
        let (orders, received) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("mock-registry".to_owned())
            .spawn(move || runtime.block_on(serve(state, socket, port, received)))?;
        let server = Server {
            port,
            orders: Some(orders),
            thread: Some(thread),
        };
        server.listen(true);
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Accepts or refuses connections; holds when this returns.
    pub(super) fn listen(&self, listening: bool) {
        let (done, wait) = mpsc::sync_channel(1);
        if let Some(orders) = &self.orders
            && orders.send((listening, done)).is_ok()
        {
            // An error says that the thread ended, which no order can change.
            let _ = wait.recv();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket that holds its port. Until it listens, connections to it are refused.
fn bound_socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

enum Port {
    Refusing(TcpSocket),
    Listening(TcpListener),
    /// Neither worked. Connections are refused.
    Lost,
}

async fn serve(
    state: Arc<Mutex<State>>,
    socket: TcpSocket,
    number: u16,
    mut orders: UnboundedReceiver<Order>,
) {
    let mut port = Port::Refusing(socket);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &port {
                Port::Listening(listener) => listener.accept().await,
                Port::Refusing(_) | Port::Lost => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => {
                let Some((listening, done)) = order else { return };
                port = match (port, listening) {
                    (Port::Refusing(socket), true) => {
                        socket.listen(128).map_or(Port::Lost, Port::Listening)
                    }
                    (Port::Listening(listener), false) => {
                        connections.shutdown().await;
                        drop(listener);
                        bound_socket(number).map_or(Port::Lost, Port::Refusing)
                    }
                    (port, _) => port,
                };
                let _ = done.send(());
            }
            connection = accepted => {
                let Ok((stream, _)) = connection else { continue };
                let state = state.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| handle(state.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that goes away is no concern of ours.
                    let _ = connection.await;
                });
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

/// Why a connection is closed without an answer.
#[derive(Debug)]
struct Disconnected;

impl std::fmt::Display for Disconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("disconnected on purpose")
    }
}

impl std::error::Error for Disconnected {}

async fn handle(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Disconnected> {
    let (parts, body) = request.into_parts();
    let path = segments(parts.uri.path());
    let fault = {
        let mut state = state.lock();
        count(&mut state.calls, parts.method.as_str(), &path);
        state.next.pop_front().or_else(|| state.standing.clone())
    };
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(refusal(&Refusal::new(413, "too large"))),
    };
    if let Some(RegistryFault::Slow(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let given = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let mut state = state.lock();
    let refused = state.authorization.is_some() && state.authorization.as_deref() != given;
    let answer = match fault {
        Some(RegistryFault::Disconnect) => return Err(Disconnected),
        Some(RegistryFault::Body(body)) => return Ok(response(StatusCode::OK, body)),
        Some(RegistryFault::Status(status)) => Err(Refusal::new(status.into(), "on purpose")),
        Some(RegistryFault::Slow(_)) | None if refused => Err(Refusal::new(401, "Unauthorized")),
        Some(RegistryFault::Slow(_)) | None => {
            api::answer(&mut state.store, parts.method.as_str(), &path, &body)
        }
    };
    Ok(match answer {
        Ok(answer) => response(StatusCode::OK, answer.to_string()),
        Err(error) => refusal(&error),
    })
}

fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(percent_decoded)
        .collect()
}

fn count(calls: &mut RegistryCalls, method: &str, path: &[String]) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    calls.total += 1;
    match (method, path.as_slice()) {
        ("POST", ["subjects", _, "versions"]) => calls.registers += 1,
        ("POST", ["subjects", _]) => calls.look_ups += 1,
        ("GET", ["schemas", "ids", _]) => calls.schemas += 1,
        ("POST", ["compatibility", ..]) => calls.compatibility_checks += 1,
        _ => {}
    }
}

fn refusal(refusal: &Refusal) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({ "error_code": refusal.code, "message": refusal.message });
    response(status, body.to_string())
}

fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
