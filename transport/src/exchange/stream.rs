//! Sockets of the control plane: TCP, or a Unix socket where all are on one host. None of them blocks.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::place::Place;
use crate::address::own;
use crate::lost::give_up_after;

/// Connections that may wait to be accepted; the system may allow fewer. Many: where it is full, nobody gets in.
pub(crate) const BACKLOG: i32 = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Ready for use: it does not block, does not wait to fill packets, and is given up once its other host was silent
    /// for `lost_after`.
    pub(crate) fn set_up(&self, lost_after: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                give_up_after(stream, lost_after)
            }
            Stream::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    /// This end's address, if it has one.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr(),
            Stream::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no address of this host")),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => { stream }.read(buffer),
            Stream::Unix(stream) => { stream }.read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => { stream }.write(bytes),
            Stream::Unix(stream) => { stream }.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Unix(stream)
    }
}

/// A socket that is listened at.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With its name.
    Unix(UnixListener, String),
}

impl Listener {
    /// Listens at exactly `place`; at port 0 the operating system chooses one.
    pub(crate) fn bind(place: &Place) -> io::Result<Listener> {
        match place {
            Place::Ip(address) => {
                let address = &own(*address);
                let socket = socket2::Socket::new(socket2::Domain::for_address(*address), socket2::Type::STREAM, None)?;
                // A port whose last connections are still being forgotten is free.
                socket.set_reuse_address(true)?;
                socket.bind(&(*address).into())?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                Ok(Listener::Tcp(socket.into()))
            }
            Place::Local(name) => {
                let socket = unix_socket()?;
                rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
                rustix::net::listen(&socket, BACKLOG)?;
                Ok(Listener::Unix(socket.into(), name.clone()))
            }
        }
    }

    /// Where it listens.
    pub(crate) fn place(&self) -> io::Result<Place> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Place::Ip),
            Listener::Unix(_, name) => Ok(Place::Local(name.clone())),
        }
    }

    /// Lets one in that waits, and says where it comes from.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Place)> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, address)| (stream.into(), Place::Ip(address))),
            Listener::Unix(listener, name) => listener.accept().map(|(stream, _)| (stream.into(), Place::Local(name.clone()))),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

fn unix_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}

/// Connects to the Unix socket with this abstract name. Never waits: where too many wait to be let in already, that is
/// [`io::ErrorKind::WouldBlock`].
pub(crate) fn connect_unix(name: &[u8]) -> io::Result<UnixStream> {
    let socket = unix_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    Ok(socket.into())
}
