//! What is wrong with names, for those who look: nothing is touched.

use crate::error::EngineError;
use crate::session::Session;
use qiao_kernel::Kernel;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long the server may take to say anything, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(2);

impl<K: Kernel> Session<'_, K> {
    /// Who has no name that should have one, and which networks' names are not answered.
    pub fn name_trouble(&mut self) -> Result<Vec<String>, EngineError> {
        if !self.kernel.starts_processes() {
            return Ok(Vec::new());
        }
        let (mut told, mut networks) = (BTreeMap::new(), BTreeSet::new());
        for endpoint in self.txn.endpoints()? {
            let Some(network) = self.txn.network(endpoint.network())? else { continue };
            if let Some(named) = self.named(&network, &endpoint) {
                told.insert(endpoint.id.key(), named.to_string());
                networks.insert(network.name.to_string());
            }
        }
        let mut trouble = self.untold(&told)?;
        if !networks.is_empty() {
            trouble.extend(self.unanswered(&networks)?);
        }
        Ok(trouble)
    }

    /// What the server is told that is not so, and the other way round.
    fn untold(&mut self, told: &BTreeMap<String, String>) -> Result<Vec<String>, EngineError> {
        let names = self.txn.names();
        let mut trouble = Vec::new();
        for (key, line) in told {
            if names.line(key)?.as_ref() != Some(line) {
                trouble.push(format!("the name server is not told of {key}"));
            }
        }
        let unreadable = self.unreadable_keys()?;
        let is_stray = |key: &String| !told.contains_key(key) && !unreadable.contains(key);
        let strays = names.keys()?.into_iter().filter(is_stray);
        trouble.extend(strays.map(|key| format!("the name server is told of {key}, which is not there")));
        Ok(trouble)
    }

    fn unanswered(&mut self, networks: &BTreeSet<String>) -> Result<Vec<String>, EngineError> {
        let silence = self.silence()?; // one that is ending has ended then
        let names = self.txn.names();
        if !names.is_running()? {
            let all: Vec<&str> = networks.iter().map(String::as_str).collect();
            return Ok(vec![format!("no name server runs for {}", all.join(", "))]);
        }
        let mut trouble = Vec::new();
        for network in networks {
            match names.served(network)? {
                Some(Ok(())) => {}
                Some(Err(why)) => trouble.push(format!("names of {network} are not answered: {why}")),
                None => trouble.push(format!("names of {network} are not answered")),
            }
        }
        trouble.extend(silence);
        Ok(trouble)
    }

    /// That the server runs and says nothing: somebody stopped it, or it hangs.
    pub fn silence(&mut self) -> Result<Option<String>, EngineError> {
        if !self.kernel.starts_processes() {
            return Ok(None);
        }
        let (names, begun) = (self.txn.names(), Instant::now());
        // One that was killed just now holds its lock a moment longer.
        while begun.elapsed() < PATIENCE {
            if !names.is_running()? || names.is_answering(PATIENCE) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let who = names.process()?.map_or_else(|| "PID".to_owned(), |number| number.to_string());
        Ok(Some(format!("the name server does not answer: `kill -9 {who}`, then `qiao repair`")))
    }
}
