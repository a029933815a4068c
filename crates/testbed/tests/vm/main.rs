//! What the kernels of many machines lack, on one that has it: ipvlan, VLANs, VRF, dummy interfaces. `cargo xtask vm`.

mod children;
mod cni_children;
mod cni_solo;
mod cni_vlans;
mod cni_vrf;
mod netavark;
