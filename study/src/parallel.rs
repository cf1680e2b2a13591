//! Many runs on all cores of this machine: each is on one thread, and none knows of another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Runs `run` for every item, as many at once as there are cores, and hands the results to `each` in the items' order
/// as soon as they are there. After the first error from `each` no further item is begun.
///
/// # Errors
/// The first of `each`.
pub fn on_all_cores<T: Sync, R: Send, E>(
    items: &[T],
    run: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (results, coming) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores {
            let results = results.clone();
            scope.spawn(|| {
                let results = results;
                // Relaxed, both: they publish nothing but themselves.
                while !ended.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    if results.send((index, run(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let (mut early, mut wanted) = (BTreeMap::new(), 0);
        for (index, result) in coming {
            early.insert(index, result);
            while let Some(result) = early.remove(&wanted) {
                if let Err(error) = each(&items[wanted], result) {
                    ended.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                wanted += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_their_items() {
        let items: Vec<u64> = (0..200).collect();
        let mut seen = Vec::new();
        let each = |item: &u64, square: u64| -> Result<(), ()> {
            seen.push((*item, square));
            Ok(())
        };
        on_all_cores(&items, |item| item * item, each).unwrap();
        assert_eq!(seen, items.iter().map(|item| (*item, item * item)).collect::<Vec<_>>());
        on_all_cores(&[], |item: &u64| *item, |_, _| Err("nothing runs")).unwrap();
    }

    #[test]
    fn an_error_ends_it() {
        let items: Vec<u64> = (0..10_000).collect();
        let begun = AtomicUsize::new(0);
        let run = |_: &u64| begun.fetch_add(1, Ordering::Relaxed);
        let each = |item: &u64, _| if *item == 3 { Err(*item) } else { Ok(()) };
        assert_eq!(on_all_cores(&items, run, each), Err(3));
    }
}
