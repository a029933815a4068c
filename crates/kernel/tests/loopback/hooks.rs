//! What is attached to the test's cgroup, asked of the kernel without the code that is tested.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// connect, sendmsg, recvmsg and getpeername in IPv4 and IPv6 (`enum bpf_attach_type`).
pub const HOOKS: [u32; 8] = [10, 11, 14, 15, 19, 20, 29, 30];

fn bpf(command: i64, attr: &mut [u64; 16]) -> i64 {
    // SAFETY: every command used here reads and writes `attr`, and one array of 64 words that lives meanwhile.
    unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) }
}

fn pair(low: u32, high: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&low.to_ne_bytes());
    bytes[4..].copy_from_slice(&high.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn cgroup() -> File {
    File::open(std::env::var("QIAO_CGROUP").unwrap()).unwrap()
}

/// The programs at a hook.
pub fn at(hook: u32) -> Vec<u32> {
    let (cgroup, mut ids) = (cgroup(), [0u32; 64]);
    let mut attr = [0; 16];
    attr[0] = pair(cgroup.as_raw_fd() as u32, hook);
    attr[2] = ids.as_mut_ptr() as u64;
    attr[3] = pair(64, 0);
    assert_eq!(bpf(16, &mut attr), 0, "BPF_PROG_QUERY: {}", std::io::Error::last_os_error());
    let count = u32::from_ne_bytes(attr[3].to_ne_bytes()[..4].try_into().unwrap());
    ids[..count as usize].to_vec()
}

/// How many programs are attached.
pub fn count() -> usize {
    HOOKS.into_iter().map(|hook| at(hook).len()).sum()
}

/// Detaches every program from a hook.
pub fn strip(hook: u32) {
    for id in at(hook) {
        let mut attr = [0; 16];
        attr[0] = pair(id, 0);
        let fd = bpf(13, &mut attr);
        assert!(fd >= 0, "BPF_PROG_GET_FD_BY_ID: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else knows it.
        let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let cgroup = cgroup();
        attr[0] = pair(cgroup.as_raw_fd() as u32, program.as_raw_fd() as u32);
        attr[1] = pair(hook, 0);
        assert_eq!(bpf(9, &mut attr), 0, "BPF_PROG_DETACH: {}", std::io::Error::last_os_error());
    }
}
