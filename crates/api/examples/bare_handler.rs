//! A handler of actix that answers 304 to everything: what the framework can do, beside which `cargo xtask bench downloads` measures the API.
//!
//! Takes the number of threads, and prints where it listens.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::{App, HttpResponse, HttpServer, rt, web};

fn main() -> io::Result<()> {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let threads = threads.ok_or_else(|| io::Error::other("give the number of threads"))?;
    rt::System::new().block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("{}", listener.local_addr()?);
        let app = || App::new().default_service(web::to(async || HttpResponse::NotModified().finish()));
        HttpServer::new(app).workers(threads).listen(listener)?.run().await
    })
}
