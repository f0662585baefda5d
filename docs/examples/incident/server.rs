//! The HTTP source: how many of each product are left, on loopback, a thread a connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Result;
use crate::data::PRODUCTS;
use crate::faults::Faults;

pub(crate) struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

pub(crate) fn start(faults: Arc<Faults>) -> Result<Server> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    let thread = std::thread::spawn(move || {
        std::thread::scope(|scope| {
            for connection in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let faults = &faults;
                // A client that hangs up is no concern of a server's.
                scope.spawn(move || connection.map(|connection| answer(connection, faults)));
            }
        });
    });
    Ok(Server { address, stopping, thread })
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address)?);
        self.thread.join().map_err(|_| "the server panicked".into())
    }
}

/// `GET /stock?products=1,2,3`: a JSON array of `{"product": 1, "left": 7}`.
fn answer(mut connection: TcpStream, faults: &Faults) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // Headers, up to the empty line.
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let wanted = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/stock?products="));
    let (status, body) = match wanted {
        Some(products) => {
            std::thread::sleep(Duration::from_millis(2) + faults.delay_of_stock());
            let products = products.split(',').filter_map(|product| product.parse::<u32>().ok());
            let left = products
                .filter(|product| *product < PRODUCTS)
                .map(|product| serde_json::json!({ "product": product, "left": product * 7 % 40 }));
            ("200 OK", serde_json::Value::from_iter(left).to_string())
        }
        None => ("404 Not Found", "\"no such thing\"".to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
