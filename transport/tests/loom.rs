//! The idioms that every provider in memory rests on, under every interleaving and every reordering that the memory
//! model allows: publish (data, then its counter) and park and wake.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p squall-transport --release --test loom --target-dir target/loom`;
//! without the flag this file is empty. Each model has a twin with one ordering taken out that must fail: otherwise the
//! model would prove nothing.
#![cfg(loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use squall_transport::atomic::{AtomicU32, AtomicU64, Ordering};
use squall_transport::park::{ASLEEP, AWAKE, announce, published, retract, take_sleeper};

/// Two messages of two words each, and the counter that publishes them.
#[derive(Default)]
struct Published {
    data: [AtomicU64; 4],
    counter: AtomicU64,
}

/// The writer stores both messages, each followed by its counter; the reader checks whatever the counter covers.
fn publish(write: Ordering, read: Ordering) {
    loom::model(move || {
        let memory = Arc::new(Published::default());
        let writer = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                for message in 0..2 {
                    memory.data[2 * message].store(1, Ordering::Relaxed);
                    memory.data[2 * message + 1].store(1, Ordering::Relaxed);
                    memory.counter.store(message as u64 + 1, write);
                }
            })
        };
        let published = memory.counter.load(read) as usize;
        for word in &memory.data[..2 * published] {
            assert_eq!(word.load(Ordering::Relaxed), 1, "a counter overtook its data");
        }
        writer.join().unwrap();
    });
}

#[test]
fn data_is_complete_when_its_counter_is_seen() {
    publish(Ordering::Release, Ordering::Acquire);
}

#[test]
#[should_panic(expected = "overtook")]
fn the_publish_model_bites_without_release() {
    publish(Ordering::Relaxed, Ordering::Acquire);
}

#[test]
#[should_panic(expected = "overtook")]
fn the_publish_model_bites_without_acquire() {
    publish(Ordering::Release, Ordering::Relaxed);
}

/// A node's memory, its bell, and a futex as the kernel keeps it: comparing and going to sleep are one step to whoever
/// wakes.
struct Node {
    words: [AtomicU64; 2],
    state: AtomicU32,
    bucket: Mutex<()>,
    sleepers: Condvar,
}

impl Node {
    fn new() -> Arc<Node> {
        let words = [AtomicU64::new(0), AtomicU64::new(0)];
        Arc::new(Node { words, state: AtomicU32::new(AWAKE), bucket: Mutex::new(()), sleepers: Condvar::new() })
    }

    fn futex_wait(&self) {
        let bucket = self.bucket.lock().unwrap();
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            drop(self.sleepers.wait(bucket).unwrap());
        }
    }

    fn futex_wake(&self) {
        let _bucket = self.bucket.lock().unwrap();
        self.sleepers.notify_one();
    }

    fn has_all(&self, writers: usize) -> bool {
        self.words[..writers].iter().all(|word| word.load(Ordering::Acquire) == 1)
    }

    /// Waits for all writers' words; each sleep is preceded by `say`, which announces it.
    fn wait_for(&self, writers: usize, say: fn(&AtomicU32)) {
        while !self.has_all(writers) {
            say(&self.state);
            if self.has_all(writers) {
                retract(&self.state);
                return;
            }
            self.futex_wait();
            retract(&self.state);
        }
    }

    /// Writes a word and wakes the owner; `order` stands between the write and the question whether it sleeps.
    fn write(&self, word: usize, order: fn()) {
        self.words[word].store(1, Ordering::Release);
        order();
        if take_sleeper(&self.state) {
            self.futex_wake();
        }
    }
}

/// A sleeper and its writers; a lost wake-up shows as a deadlock.
fn park_and_wake(writers: usize, say: fn(&AtomicU32), order: fn()) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = if writers > 1 { Some(3) } else { None };
    model.check(move || {
        let node = Node::new();
        let threads: Vec<_> = (0..writers)
            .map(|word| {
                let node = Arc::clone(&node);
                thread::spawn(move || node.write(word, order))
            })
            .collect();
        node.wait_for(writers, say);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_lost() {
    park_and_wake(1, announce, published);
}

#[test]
fn no_wake_up_of_two_writers_is_lost() {
    park_and_wake(2, announce, published);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_park_model_bites_without_the_writers_fence() {
    park_and_wake(1, announce, || {});
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_park_model_bites_without_the_sleepers_fence() {
    park_and_wake(1, |state| state.store(ASLEEP, Ordering::Relaxed), published);
}
