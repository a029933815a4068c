//! The memory of a short process. musl's own allocator maps and unmaps a page for nearly every object of one;
//! dlmalloc does not, but behind a mutex of the C library it spends half of its time on locking and unlocking it.
//! Here it is behind a flag: one atomic exchange, and nobody to wake up. And small objects, which nearly all are, do
//! not reach it: what was given back is kept by its size for the next of that size. That is 40 instructions for
//! getting and giving back instead of 150, a fifth of all that an attachment takes. What is very large has pages of its
//! own, which go back to the kernel, and can grow without being copied: a name server runs for long.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// The allocator, for `#[global_allocator]`.
pub struct Heap {
    taken: AtomicBool,
    heap: UnsafeCell<Shelves>,
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
        Self { taken: AtomicBool::new(false), heap: UnsafeCell::new(Shelves::new()) }
    }

    /// Calls `act` with the heap, which no other thread has meanwhile. It must not allocate.
    fn with<T>(&self, act: impl FnOnce(&mut Shelves) -> T) -> T {
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

/// Sizes of small objects are multiples of this, which is also their alignment.
const STEP: usize = 16;
/// The largest small object, in bytes.
const LARGEST: usize = 512;
/// What is cut into small objects at a time: about what an attachment needs. It is asked for with all its pages, each
/// of which would else be a page fault.
const PIECE: usize = 64 << 10;

/// From this size on an object has pages of its own.
const PAGES: usize = 64 << 10;
/// The smallest page of all machines: what has pages of its own is aligned to it.
const PAGE: usize = 4096;

/// Where an object comes from, and goes back to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A shelf of small objects.
    Shelf(usize),
    /// The rest.
    Rest,
    /// Pages of its own.
    Pages,
}

impl Origin {
    fn of(layout: Layout) -> Self {
        match layout.size() {
            1..=LARGEST if layout.align() <= STEP => Self::Shelf((layout.size() - 1) / STEP),
            PAGES.. if layout.align() <= PAGE => Self::Pages,
            _ => Self::Rest,
        }
    }
}

/// Small objects by their size, and the rest.
struct Shelves {
    /// The first free object of each size; in each of them is the address of the next.
    free: [*mut u8; LARGEST / STEP],
    /// What is not cut yet: from here on so many bytes.
    piece: (*mut u8, usize),
    rest: Dlmalloc,
}

impl Shelves {
    const fn new() -> Self {
        Self { free: [null_mut(); LARGEST / STEP], piece: (null_mut(), 0), rest: Dlmalloc::new() }
    }

    /// An object off a shelf; null where there is no memory.
    fn take(&mut self, shelf: usize) -> *mut u8 {
        let first = self.free[shelf];
        if first.is_null() {
            return self.cut((shelf + 1) * STEP);
        }
        // SAFETY: what is on a shelf is of ours, at least STEP bytes, aligned, and holds the address of the next.
        self.free[shelf] = unsafe { first.cast::<*mut u8>().read() };
        first
    }

    fn put_back(&mut self, shelf: usize, at: *mut u8) {
        // SAFETY: whoever gives it back has no more use for it; it is at least STEP bytes, and aligned.
        unsafe { at.cast::<*mut u8>().write(self.free[shelf]) };
        self.free[shelf] = at;
    }

    /// A new object. What is left of a piece that is too small for it is lost: less than LARGEST bytes.
    fn cut(&mut self, size: usize) -> *mut u8 {
        if self.piece.1 < size {
            let piece = pages(PIECE, libc::MAP_POPULATE);
            if piece.is_null() {
                return null_mut();
            }
            self.piece = (piece, PIECE);
        }
        let (at, left) = self.piece;
        // SAFETY: `size` bytes are left, so that what is behind them is in the piece or at its end.
        self.piece = (unsafe { at.add(size) }, left - size);
        at
    }
}

/// Pages of our own, with these flags besides; null where there is no memory.
fn pages(size: usize, flags: libc::c_int) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new pages of nobody, wherever the kernel has room.
    whole(unsafe { libc::mmap(null_mut(), size, access, kind | flags, -1, 0) })
}

fn whole(at: *mut libc::c_void) -> *mut u8 {
    if at == libc::MAP_FAILED { null_mut() } else { at.cast() }
}

// SAFETY: `with` gives the heap to one thread at a time.
unsafe impl Sync for Heap {}

// SAFETY: a small object is on no shelf while somebody has it, and no two pieces overlap; a very large one has its pages to
// itself; every other call is dlmalloc's own, which keeps the promises of an allocator. Which it is, the layout says.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Origin::of(layout) {
            Origin::Shelf(shelf) => self.with(|heap| heap.take(shelf)),
            // SAFETY: a layout's size and alignment are what dlmalloc asks for.
            Origin::Rest => self.with(|heap| unsafe { heap.rest.malloc(layout.size(), layout.align()) }),
            Origin::Pages => pages(layout.size(), 0),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Origin::of(layout) {
            Origin::Shelf(shelf) => {
                let at = self.with(|heap| heap.take(shelf));
                if !at.is_null() {
                    // SAFETY: it has so many bytes.
                    unsafe { at.write_bytes(0, layout.size()) };
                }
                at
            }
            // SAFETY: as above.
            Origin::Rest => self.with(|heap| unsafe { heap.rest.calloc(layout.size(), layout.align()) }),
            Origin::Pages => pages(layout.size(), 0),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match Origin::of(layout) {
            Origin::Shelf(shelf) => self.with(|heap| heap.put_back(shelf, at)),
            // SAFETY: the caller promises that `at` came from here with this layout.
            Origin::Rest => self.with(|heap| unsafe { heap.rest.free(at, layout.size(), layout.align()) }),
            // SAFETY: the same; the pages were mapped for this alone.
            Origin::Pages => drop(unsafe { libc::munmap(at.cast(), layout.size()) }),
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the alignment allows the size.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Origin::of(layout), Origin::of(new)) {
            (Origin::Rest, Origin::Rest) => self.with(|heap| {
                // SAFETY: as above, and the new size is one that the alignment allows.
                unsafe { heap.rest.realloc(at, layout.size(), layout.align(), size) }
            }),
            (Origin::Shelf(old), Origin::Shelf(new)) if old == new => at,
            (Origin::Pages, Origin::Pages) => {
                // SAFETY: as above; on failure the pages are as they were.
                whole(unsafe { libc::mremap(at.cast(), layout.size(), size, libc::MREMAP_MAYMOVE) })
            }
            // SAFETY: the old object and the new one have as many bytes as are copied, and are two.
            _ => unsafe {
                let to = self.alloc(new);
                if !to.is_null() {
                    to.copy_from_nonoverlapping(at, layout.size().min(size));
                    self.dealloc(at, layout);
                }
                to
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that each write their own number all over what they get, and look whether it stays: small objects,
    /// large ones, and such as become the other.
    #[test]
    fn threads_never_share_memory() {
        static HEAP: Heap = Heap::new();
        let work = |number: u8| {
            for round in 1..50_000_usize {
                let layout = Layout::from_size_align(round % 700 + 1, 8).unwrap();
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

    /// Every size and alignment, all at once: aligned, apart, zeroed where that is asked for, and the same again
    /// when it is given back.
    #[test]
    fn what_is_given_is_aligned_and_apart() {
        static HEAP: Heap = Heap::new();
        let layouts: Vec<Layout> = (1..600_usize)
            .flat_map(|size| {
                [1, 2, 8, 16, 32, 4096].map(|align| Layout::from_size_align(size, align).unwrap())
            })
            .collect();
        for round in 0..3 {
            // SAFETY: each is written within its size, and given back once, as it was got.
            let got: Vec<*mut u8> =
                layouts.iter().map(|layout| unsafe { HEAP.alloc_zeroed(*layout) }).collect();
            let mut places: Vec<(usize, usize)> = Vec::new();
            for (at, layout) in got.iter().zip(&layouts) {
                assert_eq!(at.addr() % layout.align(), 0, "{layout:?}");
                // SAFETY: as above.
                let bytes = unsafe { std::slice::from_raw_parts_mut(*at, layout.size()) };
                assert!(bytes.iter().all(|byte| *byte == 0), "{layout:?} in round {round}");
                bytes.fill(7);
                places.push((at.addr(), at.addr() + layout.size()));
            }
            places.sort_unstable();
            assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two overlap");
            // SAFETY: as above.
            got.iter().zip(&layouts).for_each(|(at, layout)| unsafe { HEAP.dealloc(*at, *layout) });
        }
    }

    /// What is very large is no memory any more when it was given back.
    #[test]
    fn very_large_objects_go_back() {
        static HEAP: Heap = Heap::new();
        let size = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').next().and_then(|pages| pages.parse::<usize>().ok()).unwrap() * PAGE
        };
        const LARGE: usize = 1 << 32;
        let (layout, before) = (Layout::from_size_align(LARGE, 8).unwrap(), size());
        // SAFETY: it is not read, and written within its size; it is given back once.
        unsafe {
            let at = HEAP.alloc(layout);
            at.add(LARGE - 1).write(1);
            assert!(size() > before + LARGE / 2);
            HEAP.dealloc(at, layout);
        }
        assert!(size() < before + LARGE / 2);
    }

    #[test]
    fn what_grows_and_shrinks_keeps_its_beginning() {
        static HEAP: Heap = Heap::new();
        let mut layout = Layout::from_size_align(8, 8).unwrap();
        // SAFETY: it is written and read within its size, and given back once, as it was got last.
        unsafe {
            let mut at = HEAP.alloc(layout);
            at.cast::<u64>().write(0x0123_4567_89ab_cdef);
            for size in [
                9,
                17,
                511,
                513,
                5000,
                PAGES - 1,
                PAGES,
                9 * PAGES,
                2 * PAGES + 1,
                PAGES,
                600,
                512,
                40,
                16,
                8,
            ] {
                at = HEAP.realloc(at, layout, size);
                layout = Layout::from_size_align(size, 8).unwrap();
                assert_eq!(at.cast::<u64>().read(), 0x0123_4567_89ab_cdef, "{size}");
            }
            HEAP.dealloc(at, layout);
        }
    }
}
