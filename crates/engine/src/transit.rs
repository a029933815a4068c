//! Packets that merely pass through the host. Where forwarding is on by our doing they are dropped, so that a host
//! which was no router is none; where others let them through by their own will, they pass.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::forwarding::Transit;
use qiao_core::plan::Sysctl;
use qiao_core::settings::TransitSetting;
use qiao_core::subnet::Family;
use qiao_kernel::Kernel;
use qiao_store::Saved;

/// The families that the host forwards by our doing.
fn switched(saved: &Saved) -> impl Iterator<Item = Family> {
    let was_off = |family: &Family| saved.sysctls.contains(&(Sysctl::forward(*family), 0));
    [Family::V4, Family::V6].into_iter().filter(was_off)
}

/// What passes whatever others have.
fn of_setting(setting: TransitSetting) -> Transit {
    match setting {
        TransitSetting::Allow => Transit::all(),
        TransitSetting::Drop | TransitSetting::Auto => Transit::default(),
    }
}

impl<K: Kernel> Session<'_, K> {
    /// What passes besides, by the setting and by what others have now. Where nothing would be dropped, the kernel is
    /// not asked.
    pub fn transit(&mut self, saved: &Saved) -> Result<Transit, EngineError> {
        if switched(saved).next().is_none() {
            return Ok(Transit::default());
        }
        match self.settings.transit {
            TransitSetting::Auto => Ok(self.kernel.forwarding()?.transit()),
            setting => Ok(of_setting(setting)),
        }
    }

    /// What is known of the host's settings, with what passes now.
    pub fn saved_now(&mut self) -> Result<Saved, EngineError> {
        let saved = self.txn.saved()?;
        Ok(Saved { transit: self.transit(&saved)?, ..saved })
    }

    /// Whether something else passes than must. The rules of others are compared where the rule set has changed.
    pub fn lets_through_else(&mut self, saved: &Saved) -> Result<bool, EngineError> {
        let is_asked = self.settings.transit == TransitSetting::Auto;
        Ok((!is_asked || !self.kernel.is_unmoved()) && self.transit(saved)? != saved.transit)
    }

    /// Notes whose packets are dropped because forwarding is on by our doing.
    pub fn note_transit(&mut self) -> Result<(), EngineError> {
        let saved = self.txn.saved()?;
        let families: Vec<Family> = switched(&saved).collect();
        if families.is_empty() {
            return Ok(());
        }
        let found = self.kernel.forwarding()?;
        let transit = match self.settings.transit {
            TransitSetting::Auto => found.transit(),
            setting => of_setting(setting),
        };
        for family in families {
            let Some(who) = found.misses(family, &transit) else { continue };
            let name = match family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            };
            self.txn.note(format!(
                "{name} packets that only pass through the host are dropped, since `{}` was 0 before the first network; \
                 {who} may need them. They pass where a rule of yours at the forward hook accepts them by the interface, or \
                 all of them with the setting `transit = \"allow\"`, from the next `qiao repair` on",
                Sysctl::forward(family)
            ));
        }
        Ok(())
    }
}
