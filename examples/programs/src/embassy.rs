//! TCP echo over `embassy-net`, as a server and as a client.

use core::fmt;

use embassy_futures::select::{Either, select};
use embassy_net::driver::Driver;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_time::Duration;
use embedded_io_async::Write;

use crate::tcp::{PREFIX, line_from};
use crate::{Addresses, CLIENT_LINE, CLIENT_LINES, CLIENT_PORT, Error, SERVER_PORT};

/// How long a connection waits for its peer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same as [`tcp_echo`](crate::tcp_echo), by the sockets of `embassy-net` over `driver`. Lines
/// are printed with `print`.
///
/// # Errors
///
/// [`Error::Tcp`] and [`Error::Echo`].
pub async fn embassy_tcp(
    driver: impl Driver,
    addresses: Addresses,
    print: impl FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    let mut resources = StackResources::<2>::new();
    let config = Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(addresses.own.into(), PREFIX),
        gateway: None,
        dns_servers: Default::default(),
    });
    // Both addresses are fixed, and the port of the only outgoing connection need not be random.
    let (stack, mut runner) = embassy_net::new(driver, config, &mut resources, 1);
    match select(runner.run(), talk(stack, addresses, print)).await {
        Either::First(never) => never,
        Either::Second(result) => result,
    }
}

async fn talk(
    stack: Stack<'_>,
    addresses: Addresses,
    mut print: impl FnMut(fmt::Arguments<'_>),
) -> Result<(), Error> {
    stack.wait_config_up().await;
    let own = Ipv4Address::from(addresses.own);
    print(format_args!("echo on {own}, port {SERVER_PORT}"));
    let (mut receive, mut send) = ([0; 2048], [0; 2048]);
    let mut socket = TcpSocket::new(stack, &mut receive, &mut send);
    socket.set_timeout(Some(PATIENCE));
    socket.accept(SERVER_PORT).await.map_err(|_| Error::Tcp)?;
    let echoed = echo(&mut socket).await?;
    print(format_args!("echoed {echoed} bytes"));
    end(&mut socket).await;
    drop(socket);

    let mut socket = TcpSocket::new(stack, &mut receive, &mut send);
    socket.set_timeout(Some(PATIENCE));
    let peer = Ipv4Address::from(addresses.peer);
    socket.connect((peer, CLIENT_PORT)).await.map_err(|_| Error::Tcp)?;
    let sent = exchange(&mut socket).await?;
    end(&mut socket).await;
    print(format_args!("sent {sent} bytes to {peer}, port {CLIENT_PORT}, and got them back"));
    Ok(())
}

/// Sends back what was received, until the peer closes. Returns the number of bytes.
async fn echo(socket: &mut TcpSocket<'_>) -> Result<usize, Error> {
    let (mut bytes, mut echoed) = ([0; 512], 0);
    loop {
        let count = socket.read(&mut bytes).await.map_err(|_| Error::Tcp)?;
        if count == 0 {
            return Ok(echoed);
        }
        socket.write_all(&bytes[..count]).await.map_err(|_| Error::Tcp)?;
        echoed += count;
    }
}

/// Sends the client's lines, and compares what comes back. Returns the number of bytes.
async fn exchange(socket: &mut TcpSocket<'_>) -> Result<usize, Error> {
    let (mut reader, mut writer) = socket.split();
    let send = async {
        for _ in 0..CLIENT_LINES {
            writer.write_all(CLIENT_LINE).await.map_err(|_| Error::Tcp)?;
        }
        Ok(())
    };
    let receive = async {
        let mut received = 0;
        while received < CLIENT_LINES * CLIENT_LINE.len() {
            let (mut bytes, expected) = ([0; CLIENT_LINE.len()], line_from(received));
            let count = reader.read(&mut bytes[..expected.len()]).await.map_err(|_| Error::Tcp)?;
            if count == 0 || bytes[..count] != expected[..count] {
                return Err(Error::Echo);
            }
            received += count;
        }
        Ok(received)
    };
    let (sent, received): (Result<(), Error>, _) = embassy_futures::join::join(send, receive).await;
    sent.and(received)
}

/// Closes a connection, and waits until the peer has all bytes.
async fn end(socket: &mut TcpSocket<'_>) {
    socket.close();
    // The peer may have closed it.
    let _ = socket.flush().await;
}
