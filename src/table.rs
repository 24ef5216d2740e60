//! [`Table`]: what has been compiled, found without a lock and never moved.
//!
//! A tree of nodes, of which each is set once: an entry lies where its hash leads, two bits at a time, or behind what is
//! there already. So who looks reads a few words that change no more, who adds loses at most a place to another that adds
//! at the same moment, and references live as long as the table.

use std::sync::OnceLock;

pub(crate) struct Table<T>(Slot<T>);

type Slot<T> = OnceLock<Box<Node<T>>>;

struct Node<T> {
    hash: u64,
    value: T,
    below: [Slot<T>; 4],
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(OnceLock::new())
    }
}

/// The next slot of a hash below a node, and the hash for the one after it: it comes round again.
fn step<T>(node: &Node<T>, hash: &mut u64) -> usize {
    let i = (*hash & 3) as usize % node.below.len();
    *hash = hash.rotate_right(2);
    i
}

impl<T> Table<T> {
    /// The first entry of that hash for which `fits` holds.
    pub(crate) fn find(&self, hash: u64, fits: impl Fn(&T) -> bool) -> Option<&T> {
        let (mut slot, mut bits) = (&self.0, hash);
        loop {
            let node = slot.get()?;
            if node.hash == hash && fits(&node.value) {
                return Some(&node.value);
            }
            slot = &node.below[step(node, &mut bits)];
        }
    }

    /// Adds an entry, behind those of the same hash.
    pub(crate) fn add(&self, hash: u64, value: T) -> &T {
        let mut new = Some(Box::new(Node { hash, value, below: Default::default() }));
        let (mut slot, mut bits) = (&self.0, hash);
        loop {
            // Runs at most once in all: whoever has set a slot has used up what is new.
            let mut mine = false;
            if let Some(made) = new.take() {
                match slot.set(made) {
                    Ok(()) => mine = true,
                    Err(back) => new = Some(back),
                }
            }
            let Some(node) = slot.get() else { continue };
            if mine {
                return &node.value;
            }
            slot = &node.below[step(node, &mut bits)];
        }
    }
}

impl<T> Drop for Table<T> {
    /// Not node in node: entries of one hash may be many.
    fn drop(&mut self) {
        let mut left: Vec<Box<Node<T>>> = self.0.take().into_iter().collect();
        while let Some(mut node) = left.pop() {
            left.extend(node.below.iter_mut().filter_map(OnceLock::take));
        }
    }
}

/// A hash of words, of which all bits of the result depend on each.
#[derive(Clone, Copy)]
pub(crate) struct Mixed(u64);

impl Mixed {
    pub(crate) fn new() -> Mixed {
        Mixed(0)
    }

    pub(crate) fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn hash(self) -> u64 {
        let x = self.0 ^ self.0 >> 32;
        let x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
        x ^ x >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let mut mixed = Mixed::new();
        mixed.add(n);
        mixed.hash()
    }

    #[test]
    fn threads_find_what_others_have_added() {
        let table = Table::default();
        std::thread::scope(|s| {
            for t in 0..4 {
                let table = &table;
                s.spawn(move || {
                    for n in 0..500u64 {
                        let known = table.find(hash(n), |(k, _)| *k == n);
                        let (k, _) = known.unwrap_or_else(|| table.add(hash(n), (n, t)));
                        assert_eq!(*k, n);
                        assert!(table.find(hash(n), |(k, _)| *k == n).is_some());
                    }
                });
            }
        });
        assert!((0..500).all(|n| table.find(hash(n), |(k, _)| *k == n).is_some()));
        assert!(table.find(hash(500), |_| true).is_none());
    }

    #[test]
    fn many_of_one_hash_are_a_list() {
        let table = Table::default();
        (0..10_000).for_each(|n| assert_eq!(*table.add(7, n), n));
        assert_eq!(table.find(7, |n| *n == 9_999), Some(&9_999));
        assert_eq!(table.find(7, |_| true), Some(&0));
    }
}
