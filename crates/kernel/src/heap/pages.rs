//! Pages of a short process. Asking for them one by one, by a page fault for each, costs several times what it costs
//! to have those together that are known to be needed.

use dlmalloc::Allocator;
use std::ptr::null_mut;

/// How much is asked for with all its pages at once, at most, in bytes: about what an attachment needs of small
/// objects, and again of large ones.
pub(super) const PIECE: usize = 64 << 10;

/// The stack that an attachment needs, in bytes.
const STACK: usize = 40 << 10;
const PAGE: usize = 4096;

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
pub(super) fn pages(size: usize) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let ready = if size <= PIECE { libc::MAP_POPULATE } else { 0 };
    // SAFETY: new pages of nobody, wherever the kernel has room.
    let at = unsafe { libc::mmap(null_mut(), size, access, kind | ready, -1, 0) };
    if at == libc::MAP_FAILED { null_mut() } else { at.cast() }
}

/// Where dlmalloc has its pages from.
pub(super) struct Pages;

// SAFETY: what `alloc` gives is new and as large as was asked for; the others do as the kernel's calls of the same
// meaning, on what came from there.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let at = pages(size);
        if at.is_null() { (at, 0, 0) } else { (at, size, 0) }
    }

    fn remap(&self, at: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let how = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: the pages are the allocator's, who uses them from here on where they are afterwards.
        let at = unsafe { libc::mremap(at.cast(), old, new, how) };
        if at == libc::MAP_FAILED { null_mut() } else { at.cast() }
    }

    fn free_part(&self, at: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: `new` is less than `old`: what is behind it is the allocator's, and it has no more use for it.
        unsafe { libc::munmap(at.add(new).cast(), old - new) == 0 }
    }

    fn free(&self, at: *mut u8, size: usize) -> bool {
        // SAFETY: the allocator has no more use for them.
        unsafe { libc::munmap(at.cast(), size) == 0 }
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
