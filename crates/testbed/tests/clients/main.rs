//! Real clients of CNI plugins: Podman, `ctr`, and containerd as a Kubernetes node has it, each test on a host of
//! its own. `QIAO_CNI_BIN_DIR` names the plugins; the reference plugins are taken where it does not.

mod containerd;
mod cri;
mod cri_pods;
mod ctr_run;
mod machine;
mod plugins;
mod podman;
mod podman_life;
mod podman_networks;
mod podman_ports;
