//! Endpoints whose records make no sense. Such a record stays in its place and protects what the endpoint has.

use crate::dir::Dir;
use crate::error::StoreError;
use crate::journal::{Journal, record_file, recorded_interface};
use crate::record::{self, Read};
use crate::runtime;
use crate::store::{Store, Txn};
use qiao_core::{IfName, SandboxName};
use std::collections::BTreeMap;

/// The sandbox and the interface of an endpoint: what the place of its record says of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName {
    /// The sandbox.
    pub sandbox: SandboxName,
    /// The interface in it.
    pub ifname: IfName,
}

impl EndpointName {
    /// The owner of the endpoint's claims: `SANDBOX@IFNAME`.
    pub fn key(&self) -> String {
        format!("{}@{}", self.sandbox, self.ifname)
    }
}

impl Store {
    /// Reads an endpoint's record; one that makes no sense is noted and stays.
    pub(crate) fn good_record(
        &self,
        dir: &Dir,
        (sandbox, file): (&SandboxName, &str),
    ) -> Result<Option<Journal>, StoreError> {
        let Some(ifname) = recorded_interface(file) else {
            return self.quarantine(dir, file, "it is named as no record is").map(|()| None);
        };
        let why = match record::read::<Journal>(dir, file)? {
            Read::Absent => return Ok(None),
            Read::Good(journal)
                if journal.endpoint.sandbox() == sandbox && journal.endpoint.id.ifname == ifname =>
            {
                return Ok(Some(journal));
            }
            Read::Good(_) => "it is of something else".to_owned(),
            Read::Bad(why) => why,
        };
        let path = format!("{}/{file}", dir.path());
        let name = EndpointName { sandbox: sandbox.clone(), ifname };
        if self.unreadable.borrow_mut().insert(name, why.clone()).is_none() {
            self.note(format!(
                "{path} makes no sense ({why}); what the endpoint has is kept until it is detached"
            ));
        }
        Ok(None)
    }

    /// The endpoints whose records make no sense, and why. They may live: what they have is not free.
    pub fn unreadable(&self) -> Result<BTreeMap<EndpointName, String>, StoreError> {
        self.endpoints()?;
        Ok(self.unreadable.borrow().clone())
    }

    /// Those of one sandbox, once its endpoints were read.
    pub fn unreadable_of(&self, sandbox: &SandboxName) -> Vec<EndpointName> {
        let all = self.unreadable.borrow();
        all.keys().filter(|name| name.sandbox == *sandbox).cloned().collect()
    }

    /// Whether a record that was read and not found is there and makes no sense.
    pub fn is_unreadable(&self, sandbox: &SandboxName, ifname: &IfName) -> bool {
        let name = EndpointName { sandbox: sandbox.clone(), ifname: ifname.clone() };
        self.unreadable.borrow().contains_key(&name)
    }
}

impl Txn<'_> {
    /// Sets an endpoint's record aside that makes no sense: what it had has been given back.
    pub fn drop_unreadable(&self, name: &EndpointName) -> Result<(), StoreError> {
        if let (Some(dir), Some(why)) =
            (runtime::sandbox_dir(self.run(), &name.sandbox)?, self.unreadable.borrow_mut().remove(name))
        {
            self.quarantine(&dir, &record_file(name.ifname.as_str()), &why)?;
            self.endpoints_dir()?.remove_dir(name.sandbox.as_str())?;
        }
        Ok(())
    }
}
