//! What users and attackers see of `qiao`, each test on a host of its own. The names begin with the
//! requirement's group and number: isolation (`iso`), publishing (`port`), reliability (`rel`), inputs (`inp`).

mod cni_adopted;
mod cni_bridge;
mod cni_dhcp;
mod cni_forward;
mod cni_install;
mod cni_settings;
mod containers;
mod dhcp_networks;
mod frames;
mod inp_30_arguments;
mod inp_31_files;
mod iso_1_guard;
mod iso_2_window;
mod iso_6_networks;
mod iso_7_internal;
mod kill;
mod modes_children;
mod modes_routed;
mod netavark;
mod netavark_defects;
mod netavark_replay;
mod port_12_conflicts;
mod port_13_flows;
mod port_14_full;
mod port_8_exact;
mod rel_21_detach;
mod rel_22_ready;
mod rel_23_healing;
mod rel_23_inside;
mod rel_25_storms;
mod rel_28_records;
mod rel_29_bridge;
mod soak;
