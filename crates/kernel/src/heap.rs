//! The memory of a short process. musl's own allocator maps and unmaps a page for nearly every object of one;
//! dlmalloc does not, but behind a mutex of the C library it spends half of its time on locking and unlocking it.
//! Here it is behind a flag: one atomic exchange, and nobody to wake up.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// The allocator, for `#[global_allocator]`.
pub struct Heap {
    taken: AtomicBool,
    heap: UnsafeCell<Dlmalloc>,
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

impl Heap {
    /// An empty heap.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        Self { taken: AtomicBool::new(false), heap: UnsafeCell::new(Dlmalloc::new()) }
    }

    /// Calls `act` with the heap, which no other thread has meanwhile. It must not allocate.
    fn with<T>(&self, act: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: whoever swapped `false` out is alone with the heap until it stores `false` again; dlmalloc calls
        // back into nothing of ours.
        let done = act(unsafe { &mut *self.heap.get() });
        self.taken.store(false, Ordering::Release);
        done
    }
}

// SAFETY: `with` gives the heap to one thread at a time.
unsafe impl Sync for Heap {}

// SAFETY: every call is dlmalloc's own, which keeps the promises of an allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a layout's size and alignment are what dlmalloc asks for.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `at` came from here with this layout.
        self.with(|heap| unsafe { heap.free(at, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above, and the new size is one that the alignment allows.
        self.with(|heap| unsafe { heap.realloc(at, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that each write their own number all over what they get, and look whether it stays.
    #[test]
    fn threads_never_share_memory() {
        static HEAP: Heap = Heap::new();
        let work = |number: u8| {
            for round in 1..50_000_usize {
                let layout = Layout::from_size_align(round % 300 + 1, 8).unwrap();
                // SAFETY: the memory is written and read within its size, and given back once, as it was got.
                unsafe {
                    let at = HEAP.alloc(layout);
                    std::ptr::write_bytes(at, number, layout.size());
                    let at = HEAP.realloc(at, layout, layout.size() + 40);
                    let seen = std::slice::from_raw_parts(at, layout.size());
                    assert!(seen.iter().all(|byte| *byte == number));
                    HEAP.dealloc(at, Layout::from_size_align(layout.size() + 40, 8).unwrap());
                }
            }
        };
        std::thread::scope(|scope| (1..5).for_each(|number| drop(scope.spawn(move || work(number)))));
    }
}
