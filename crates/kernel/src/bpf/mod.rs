//! BPF without a compiler: programs are assembled here, loaded and attached by bpf(2).

pub mod asm;
pub mod cgroup;
pub mod map;
pub mod program;
