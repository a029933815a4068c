//! Which addresses an endpoint gets: `core` decides, the leases and the kernel say what is taken.

use crate::error::EngineError;
use crate::leaving;
use crate::session::Session;
use ipnet::IpNet;
use qiao_core::ipam::assign;
use qiao_core::owner::{EndpointId, fnv};
use qiao_core::request::Wish;
use qiao_core::subnet::Family;
use qiao_core::{Mac, Network, Pool, Refusal};
use qiao_kernel::Kernel;
use qiao_store::{Holder, Leases};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An address, and whether the next search starts behind it.
pub(crate) type Given = (IpNet, bool);

/// After so many addresses that were taken, all leases are read at once instead of one by one.
const ONE_BY_ONE: usize = 32;

impl<K: Kernel> Session<'_, K> {
    /// An address of each family that the network has, but none of the `host`'s.
    pub fn addresses(
        &mut self,
        network: &Network,
        wish: &Wish,
        host: &[IpAddr],
    ) -> Result<Vec<Given>, EngineError> {
        for (family, asked) in [(Family::V4, wish.ip.map(IpAddr::V4)), (Family::V6, wish.ip6.map(IpAddr::V6))]
        {
            if let Some(ip) = asked.filter(|_| !network.has(family)) {
                let what = format!("the address `{ip}` is not in network `{}`", network.name);
                return Err(Refusal::invalid(what).why("the network has no subnet of that family").into());
            }
        }
        network.pools().iter().map(|pool| self.address(network, (pool, host), wish)).collect()
    }

    fn address(
        &mut self,
        network: &Network,
        (pool, host): (&Pool, &[IpAddr]),
        wish: &Wish,
    ) -> Result<Given, EngineError> {
        let asked = match pool.subnet.family() {
            Family::V4 => wish.ip.map(IpAddr::V4),
            Family::V6 => wish.ip6.map(IpAddr::V6),
        };
        let leases = self.txn.claims().leases(&network.name)?;
        let last = leases.last(pool.subnet.family())?;
        let mut register = Register { leases, kernel: self.kernel, all: None, asked: 0, error: None };
        let is_hosts = |ip: &IpAddr| host.contains(ip).then(|| "the host".to_owned());
        let given = assign(pool, asked, last, &mut |ip| is_hosts(&ip).or_else(|| register.owner(ip)));
        if let Some(error) = register.error {
            return Err(error);
        }
        let given = given.map_err(|r| r.context(format!("network `{}`", network.name)))?;
        Ok((network.endpoint_net(pool, given.ip), given.moves))
    }

    /// The hardware address: the one wished for, or the one that belongs to the first address, or to the
    /// endpoint's name.
    pub fn mac(
        &mut self,
        network: &Network,
        (id, addresses): (&EndpointId, &[Given]),
        wish: &Wish,
    ) -> Result<Mac, EngineError> {
        let nameless = || IpAddr::V4((fnv(&id.key(), 0) as u32).into());
        let first = addresses.first().map_or_else(nameless, |(net, _)| net.addr());
        let mac = wish.mac.unwrap_or_else(|| Mac::derived(network.mac_number(), first));
        if mac == Mac::PORT {
            let what = format!("the hardware address `{mac}` is that of the host's ends of pairs");
            return Err(Refusal::invalid(what).into());
        }
        match self.txn.claims().mac_owner(&network.name, mac)? {
            Some(owner) => {
                Err(Refusal::conflict(format!("the hardware address `{mac}` is taken by {owner}")).into())
            }
            None => Ok(mac),
        }
    }
}

/// Who has which address.
struct Register<'a, K> {
    leases: Leases,
    kernel: &'a mut K,
    all: Option<BTreeSet<IpAddr>>,
    asked: usize,
    error: Option<EngineError>,
}

impl<K: Kernel> Register<'_, K> {
    /// Who has `ip`. After an error everything is taken, so that the search ends.
    fn owner(&mut self, ip: IpAddr) -> Option<String> {
        if self.error.is_some() {
            return Some(String::new());
        }
        self.look(ip).unwrap_or_else(|error| {
            self.error = Some(error);
            Some(String::new())
        })
    }

    fn look(&mut self, ip: IpAddr) -> Result<Option<String>, EngineError> {
        self.asked += 1;
        if self.asked == ONE_BY_ONE {
            self.all = Some(self.leases.addresses()?.into_iter().collect());
        }
        if self.all.as_ref().is_some_and(|all| !all.contains(&ip)) {
            return Ok(None);
        }
        match self.leases.holder(ip)? {
            None => Ok(None),
            Some(Holder::Endpoint(key)) => Ok(Some(key)),
            Some(Holder::Leaving(device)) => self.leaving(ip, &device),
        }
    }

    /// An address whose device was on its way out is free once the device is gone.
    fn leaving(&mut self, ip: IpAddr, device: &str) -> Result<Option<String>, EngineError> {
        if leaving::is_there(self.kernel, device)? {
            let (name, _) = device.split_once(':').unwrap_or((device, ""));
            return Ok(Some(format!("the device {name}, which is on its way out")));
        }
        self.leases.forget(ip)?;
        Ok(None)
    }
}
