//! Pages of a short process. Asking for them one by one, by a page fault for each, costs several times what it costs
//! to have those together that are known to be needed.

use dlmalloc::Allocator;
use std::ptr::null_mut;

/// How much is asked for with all its pages at once, at most, in bytes: about what an attachment needs of small
/// objects, and again of large ones.
pub(super) const PIECE: usize = 64 << 10;

/// The stack that an attachment needs, in bytes.
const STACK: usize = 40 << 10;
/// The smallest page of all machines.
pub(super) const PAGE: usize = 4096;

/// Has the pages of the stack ready that a command is going to need. Kernels before 5.14 have no word for it, and
/// nothing is lost where it fails.
pub fn ready_stack() {
    let mark = 0_u8;
    let end = (&raw const mark).addr() & !(PAGE - 1);
    let start = std::ptr::without_provenance_mut(end.saturating_sub(STACK));
    // SAFETY: whatever is there stays as it is.
    unsafe { libc::madvise(start, STACK, libc::MADV_POPULATE_WRITE) };
}

/// New pages; null where there are none.
pub(super) fn new(size: usize) -> *mut u8 {
    map(size, 0)
}

/// The same, all there already.
pub(super) fn ready(size: usize) -> *mut u8 {
    map(size, libc::MAP_POPULATE)
}

fn map(size: usize, how: libc::c_int) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new pages of nobody, wherever the kernel has room.
    whole(unsafe { libc::mmap(null_mut(), size, access, kind | how, -1, 0) })
}

/// Makes them more or fewer, elsewhere if they may go there; null, and as they were, where that is impossible.
///
/// # Safety
/// They are `old` bytes from here, and nobody uses them where they were.
pub(super) unsafe fn change(at: *mut u8, (old, new): (usize, usize), can_move: bool) -> *mut u8 {
    let how = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
    // SAFETY: the caller's promise.
    whole(unsafe { libc::mremap(at.cast(), old, new, how) })
}

/// Gives them back; whether the kernel took them.
///
/// # Safety
/// They are from here, and nobody uses them any more.
pub(super) unsafe fn give_back(at: *mut u8, size: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(at.cast(), size) == 0 }
}

fn whole(at: *mut libc::c_void) -> *mut u8 {
    if at == libc::MAP_FAILED { null_mut() } else { at.cast() }
}

/// Where dlmalloc has its pages from.
pub(super) struct Pages;

// SAFETY: what `alloc` gives is new and as large as was asked for; the others do as the kernel's calls of the same
// meaning, on what came from there.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let at = if size <= PIECE { ready(size) } else { new(size) };
        if at.is_null() { (at, 0, 0) } else { (at, size, 0) }
    }

    fn remap(&self, at: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        // SAFETY: the pages are the allocator's, who uses them from here on where they are afterwards.
        unsafe { change(at, (old, new), can_move) }
    }

    fn free_part(&self, at: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: `new` is less than `old`: what is behind it is the allocator's, and it has no more use for it.
        unsafe { give_back(at.add(new), old - new) }
    }

    fn free(&self, at: *mut u8, size: usize) -> bool {
        // SAFETY: the allocator has no more use for them.
        unsafe { give_back(at, size) }
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}
