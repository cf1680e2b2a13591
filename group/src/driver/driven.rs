//! What a driver's thread turns: a group, or a member that goes from view to view.

use std::sync::{Arc, Mutex, PoisonError};

use squall_transport::{Endpoint, Fabric, Waker};

use super::DriverError;
use crate::group::Group;
use crate::member::Member;
use crate::outgoing::Outgoing;
use crate::pace::Pace;
use crate::reads::{ReadPoint, ReadRefused};
use crate::turn::Turn;
use crate::upcalls::Upcalls;
use crate::view::View;

/// What a [`Driver`](super::Driver) can own: a [`Group`], whose members never change, or a [`Member`]. Nobody else
/// implements it.
pub trait Drivable: sealed::Driven + Send + 'static {}

impl<E: Endpoint + Send + 'static> Drivable for Group<E> {}

impl<F: Fabric + Send + 'static> Drivable for Member<F> where F::Endpoint: Send + 'static {}

pub(crate) mod sealed {
    use super::*;

    /// How it is driven.
    pub trait Driven {
        /// A waker that is good for as long as [`Driven::renew`] is called after each turn.
        fn lasting_waker(&self) -> Renewed;
        fn renew(&self, waker: &Renewed);
        fn present_view(&self) -> &View;
        /// The longest message that may be sent.
        fn bytes_max(&self) -> u64;
        fn sending(&mut self) -> &mut Outgoing;
        fn read_point(&mut self) -> Result<ReadPoint, ReadRefused>;
        fn has_reached(&self, point: ReadPoint) -> bool;
        fn turn_once(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<Turn, DriverError>;
        fn part(self, waker: &Renewed, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError>;
    }
}

use sealed::Driven;

/// A waker of the present view.
#[derive(Clone, Debug)]
pub struct Renewed(Arc<Mutex<(u64, Waker)>>);

impl Renewed {
    fn new(view: u64, waker: Waker) -> Renewed {
        Renewed(Arc::new(Mutex::new((view, waker))))
    }

    fn renew(&self, view: u64, waker: impl FnOnce() -> Waker) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if present.0 != view {
            *present = (view, waker());
        }
    }

    pub(crate) fn wake(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.wake();
    }
}

impl<E: Endpoint> Driven for Group<E> {
    fn lasting_waker(&self) -> Renewed {
        Renewed::new(self.view().id, self.waker())
    }

    fn renew(&self, _waker: &Renewed) {}

    fn present_view(&self) -> &View {
        self.view()
    }

    fn bytes_max(&self) -> u64 {
        self.config().message_bytes_max()
    }

    fn sending(&mut self) -> &mut Outgoing {
        self.outgoing()
    }

    fn read_point(&mut self) -> Result<ReadPoint, ReadRefused> {
        self.read_point()
    }

    fn has_reached(&self, point: ReadPoint) -> bool {
        self.has_reached(point)
    }

    fn turn_once(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<Turn, DriverError> {
        let turn = self.turn(upcalls, pace)?;
        if self.next_view().is_some() { Err(DriverError::NextView) } else { Ok(turn) }
    }

    fn part(self, _waker: &Renewed, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        Ok(self.close(upcalls, pace)?)
    }
}

impl<F: Fabric> Driven for Member<F> {
    fn lasting_waker(&self) -> Renewed {
        Renewed::new(self.view().id, self.waker())
    }

    fn renew(&self, waker: &Renewed) {
        waker.renew(self.view().id, || self.waker());
    }

    fn present_view(&self) -> &View {
        self.view()
    }

    fn bytes_max(&self) -> u64 {
        self.config().message_bytes_max()
    }

    fn sending(&mut self) -> &mut Outgoing {
        self.outgoing()
    }

    fn read_point(&mut self) -> Result<ReadPoint, ReadRefused> {
        self.read_point()
    }

    fn has_reached(&self, point: ReadPoint) -> bool {
        self.has_reached(point)
    }

    fn turn_once(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<Turn, DriverError> {
        Ok(self.turn(upcalls, pace)?)
    }

    fn part(mut self, waker: &Renewed, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<(), DriverError> {
        loop {
            // A view that ends before takes no leave: it is taken in the next one.
            if self.group().is_none_or(Group::has_delivered_own) {
                self.leave();
            }
            let turn = self.turn(upcalls, pace)?;
            if turn == Turn::Left {
                return Ok(());
            }
            self.renew(waker);
        }
    }
}
