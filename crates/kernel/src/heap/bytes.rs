//! Copying and comparing short pieces of memory. musl starts a string instruction for each piece, or goes byte by
//! byte: 15 to 20 ns, two thousand times in an attachment. Nearly all of them are shorter than 128 bytes.

use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};
use std::ptr::{read_unaligned, write_unaligned};

/// What is copied by registers, at most, in bytes.
const SHORT: usize = 128;

/// Copies what is short; the two may overlap, since everything is read before anything is written.
///
/// # Safety
/// Both have `length` bytes, and `length` is at most `SHORT`.
#[inline]
unsafe fn short(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: each arm touches the first and the last bytes of a piece that is at least as long as those.
    unsafe {
        match length {
            0 => {}
            1 => *to = *from,
            2..4 => ends::<u16>(to, from, length),
            4..8 => ends::<u32>(to, from, length),
            8..16 => ends::<u64>(to, from, length),
            16..=32 => wide::<1>(to, from, length),
            33..=64 => wide::<2>(to, from, length),
            _ => wide::<4>(to, from, length),
        }
    }
}

/// The first bytes and the last, which may be the same.
///
/// # Safety
/// `length` is at least the size of a `T`.
#[inline]
unsafe fn ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let last = length - size_of::<T>();
    // SAFETY: both are within the piece.
    unsafe {
        let (a, b) = (read_unaligned(from.cast::<T>()), read_unaligned(from.add(last).cast::<T>()));
        write_unaligned(to.cast::<T>(), a);
        write_unaligned(to.add(last).cast::<T>(), b);
    }
}

/// The same by `N` registers of 16 bytes from either end.
///
/// # Safety
/// `length` is at least 16 times `N`.
#[inline]
unsafe fn wide<const N: usize>(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: SSE2 is part of x86-64; all are within the piece.
    unsafe {
        let read = |at: usize| _mm_loadu_si128(from.add(at).cast::<__m128i>());
        let write = |at: usize, value| _mm_storeu_si128(to.add(at).cast::<__m128i>(), value);
        let first: [__m128i; N] = std::array::from_fn(|n| read(16 * n));
        let last: [__m128i; N] = std::array::from_fn(|n| read(length - 16 * (n + 1)));
        (0..N).for_each(|n| write(16 * n, first[n]));
        (0..N).for_each(|n| write(length - 16 * (n + 1), last[n]));
    }
}

/// Copies; the two must not overlap.
///
/// # Safety
/// That of C's `memcpy`.
#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    if length <= SHORT {
        // SAFETY: the caller's promise.
        return unsafe { short(to, from, length) };
    }
    // SAFETY: as above; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// Copies; the two may overlap.
///
/// # Safety
/// That of C's `memmove`.
#[inline]
unsafe fn shift(to: *mut u8, from: *const u8, length: usize) {
    if length <= SHORT || to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: what is short is read first; else forwards nothing is overwritten that is yet to be read.
        return unsafe { copy(to, from, length) };
    }
    // SAFETY: backwards, from the last byte on; the direction flag is clear again afterwards, as the ABI asks.
    unsafe {
        let (to, from) = (to.add(length - 1), from.add(length - 1));
        std::arch::asm!("std", "rep movsb", "cld", inout("rcx") length => _, inout("rdi") to => _,
            inout("rsi") from => _, options(nostack));
    }
}

/// Which of two is less: negative, 0 or positive, by the first byte that differs.
///
/// # Safety
/// Both have `length` bytes.
#[inline]
unsafe fn compare(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // SAFETY: `at` and what is read from there are within the pieces.
    unsafe {
        while length - at >= 8 {
            let word = |p: *const u8| u64::from_be(read_unaligned(p.add(at).cast::<u64>()));
            if word(a) != word(b) {
                return if word(a) < word(b) { -1 } else { 1 };
            }
            at += 8;
        }
        while at < length {
            let byte = |p: *const u8| i32::from(*p.add(at));
            if byte(a) != byte(b) {
                return byte(a) - byte(b);
            }
            at += 1;
        }
    }
    0
}

/// In the place of the C library's.
#[cfg(all(target_env = "musl", not(debug_assertions)))]
mod exported {
    /// # Safety
    /// C11, 7.24.2.1.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { super::copy(to, from, length) };
        to
    }

    /// # Safety
    /// C11, 7.24.2.2.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { super::shift(to, from, length) };
        to
    }

    /// # Safety
    /// C11, 7.24.4.1.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { super::compare(a, b, length) }
    }

    /// # Safety
    /// That of `memcmp`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { super::compare(a, b, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room before, between and behind, so that what is written too far is seen.
    const ROOM: usize = 600;

    fn pattern() -> Vec<u8> {
        (0..3 * ROOM).map(|n| (n * 7 + n / 256) as u8).collect()
    }

    #[test]
    fn every_length_is_copied_and_nothing_beside_it() {
        for length in (0..300).chain([511, 512, ROOM]) {
            let (from, mut to) = (pattern(), vec![0xa5; 3 * ROOM]);
            // SAFETY: both have so many bytes from there on, and they are two.
            unsafe { copy(to.as_mut_ptr().add(ROOM), from.as_ptr().add(3), length) };
            assert_eq!(to[ROOM..ROOM + length], from[3..3 + length], "{length}");
            assert!(to[..ROOM].iter().chain(&to[ROOM + length..]).all(|byte| *byte == 0xa5), "{length}");
        }
    }

    #[test]
    fn what_overlaps_is_moved_either_way() {
        for length in (0..300).chain([511, ROOM]) {
            for by in [1, 7, 16, 100, 129, ROOM] {
                for (from, to) in [(ROOM - by, ROOM), (ROOM, ROOM - by)] {
                    let (mut bytes, mut wanted) = (pattern(), pattern());
                    wanted.copy_within(from..from + length, to);
                    let at = bytes.as_mut_ptr();
                    // SAFETY: both are within the same vector.
                    unsafe { shift(at.add(to), at.add(from).cast_const(), length) };
                    assert!(bytes == wanted, "{length} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        let compared = |a: &[u8], b: &[u8]| {
            // SAFETY: both have so many bytes.
            unsafe { compare(a.as_ptr(), b.as_ptr(), a.len()) }.cmp(&0)
        };
        for length in 0..40 {
            let a = pattern()[..length].to_vec();
            assert_eq!(compared(&a, &a), std::cmp::Ordering::Equal);
            for at in 0..length {
                for other in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut b = a.clone();
                    b[at] = other;
                    b[at + 1..].fill(!other); // later ones say nothing
                    let mut a = a.clone();
                    a[at + 1..].fill(other);
                    let wanted = a[at].cmp(&other).then(a.as_slice().cmp(&b));
                    assert_eq!(compared(&a, &b), wanted, "{a:?} {b:?}");
                }
            }
        }
    }
}
