//! Real clients of CNI plugins: Podman, `ctr`, and containerd as a Kubernetes node has it, each test on a host of
//! its own. `QIAO_CNI_BIN_DIR` names other plugins than ours, such as `/usr/lib/cni`.

mod containerd;
mod cri;
mod cri_pods;
mod ctr_run;
mod firewalld;
mod machine;
mod netavark_life;
mod netavark_names;
mod netavark_networks;
mod netavark_pods;
mod netavark_ports;
mod netavark_rootless;
mod plugins;
mod podman;
mod podman_life;
mod podman_networks;
mod podman_ports;
mod record;
