//! A turn of a member's loop: what it takes in, and the doorbells at its end.

use super::State;
use crate::model::due::What;
use crate::model::spec::KernelSpec;

impl State {
    pub(in crate::model) fn begin_turn(&mut self, node: usize, at_ps: u64) {
        let this = &mut self.nodes[node];
        this.clock_ps = at_ps;
        this.news = false;
        if let Some(kernel) = self.spec.kernel.clone() {
            self.nodes[node].clock_ps += kernel.look_ps;
            self.take_in(node, &kernel);
        }
    }

    /// Kernels: one call for each connection that has something.
    fn take_in(&mut self, node: usize, kernel: &KernelSpec) {
        let mut ready = std::mem::take(&mut self.nodes[node].ready);
        ready.retain(|&index| {
            let link = &mut self.links[index as usize];
            let bytes = (link.arrived - link.taken).min(kernel.intake_bytes);
            link.taken += bytes;
            let (taken, more) = (link.taken, link.taken < link.arrived);
            link.is_ready = more;
            self.nodes[node].clock_ps += kernel.call_ps + (bytes as f64 * kernel.receive_byte_ps) as u64;
            while let Some(&flying) = self.links[index as usize].flying.front().filter(|flying| flying.end <= taken) {
                self.links[index as usize].flying.pop_front();
                self.is_in(index, &flying);
            }
            let at_ps = self.nodes[node].clock_ps + self.spec.switch.hop_ps;
            self.schedule(at_ps, What::Room { link: index, bytes });
            more
        });
        self.nodes[node].news |= !ready.is_empty();
        self.nodes[node].ready = ready;
    }

    pub(in crate::model) fn end_turn(&mut self, node: usize) -> (u64, bool) {
        self.start_lanes(node);
        let mut touched = std::mem::take(&mut self.nodes[node].touched);
        match self.spec.kernel.clone() {
            Some(kernel) => {
                for &link in &touched {
                    self.hand_over(link, &kernel);
                }
                // Those with more than there was room for are called again.
                touched.retain(|&link| self.links[link as usize].untold > 0);
                self.nodes[node].touched = touched;
            }
            None => {
                touched.drain(..).for_each(|link| self.ring(node, link, 0));
                self.nodes[node].touched = touched;
            }
        }
        (self.nodes[node].clock_ps, self.nodes[node].news)
    }

    /// The doorbell of a link: the card hears of what it was not told yet, once the mover, if there is one, has moved
    /// so many writes.
    pub(super) fn ring(&mut self, node: usize, link: u32, writes: u64) {
        let this = &mut self.nodes[node];
        this.clock_ps += self.spec.host.doorbell_ps;
        this.counted.doorbells += 1;
        let rung_ps = this.clock_ps;
        let bytes = std::mem::take(&mut self.links[link as usize].untold);
        let at_ps = self.moved_ps(node, rung_ps, writes, bytes) + self.spec.nic.start_ps;
        self.schedule(at_ps, What::Told { link, bytes });
    }

    /// Kernels: what there is room for goes into the socket.
    fn hand_over(&mut self, index: u32, kernel: &KernelSpec) {
        let (from, _) = self.ends(index);
        let link = &mut self.links[index as usize];
        let bytes = link.untold.min(kernel.buffer_bytes.saturating_sub(link.in_kernels));
        link.awaits_room = bytes < link.untold;
        if bytes == 0 {
            return;
        }
        link.untold -= bytes;
        link.in_kernels += bytes;
        let node = &mut self.nodes[from];
        node.clock_ps += kernel.call_ps + (bytes as f64 * kernel.send_byte_ps) as u64;
        node.counted.doorbells += 1;
        let at_ps = node.clock_ps + self.spec.nic.start_ps;
        self.schedule(at_ps, What::Told { link: index, bytes });
    }
}
