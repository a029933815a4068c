//! How a request fails: refused, taken back, or with something left.

use qiao_core::{Code, Refusal};
use qiao_kernel::{ApplyError, KernelError, OpenError};
use qiao_store::StoreError;
use thiserror::Error;

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The request is wrong, or something is in its way. Nothing was touched.
    #[error("{0}")]
    Refused(Refusal),
    /// It failed, and was taken back.
    #[error("cannot {act}")]
    Failed {
        /// What was being done.
        act: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It failed, and something is left.
    #[error("cannot {act}, and not all of it could be taken back")]
    Residue {
        /// What was being done.
        act: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What is left: the lines of the plan that would remove it.
        left: Vec<String>,
    },
}

impl EngineError {
    /// A failure of an act.
    pub fn failed(act: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        EngineError::Failed { act: act.into(), source: Box::new(source) }
    }

    /// The process exit code.
    pub fn exit(&self) -> u8 {
        match self {
            EngineError::Refused(refusal) => refusal.code.exit(),
            EngineError::Failed { .. } if self.is_permission() => Code::NotPermitted.exit(),
            EngineError::Failed { .. } => 1,
            EngineError::Residue { .. } => 3,
        }
    }

    /// Whether the kernel or the file system refused for want of privilege.
    pub fn is_permission(&self) -> bool {
        const EPERM: i32 = 1;
        const EACCES: i32 = 13;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let kernel = error.downcast_ref::<KernelError>().and_then(KernelError::errno);
            let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
            if matches!(kernel.or(io), Some(EPERM | EACCES)) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// An error and its causes, each once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        cause = error.source();
    }
    words.join(": ")
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        EngineError::Refused(refusal)
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::TooLarge { .. }) {
            return Refusal::new(Code::Exhausted, "the record of the change is too large")
                .why(error.to_string())
                .fix("publish ranges of ports instead of single ports: -p 8000-8999:8000-8999")
                .into();
        }
        EngineError::failed("use the engine's files", error)
    }
}

impl From<KernelError> for EngineError {
    fn from(error: KernelError) -> Self {
        if let KernelError::AnotherEngine { link } = &error {
            return another_engine(link).into();
        }
        EngineError::failed("ask the kernel", error)
    }
}

/// Two engines in one network namespace would take each other's rules away.
fn another_engine(link: &str) -> Refusal {
    Refusal::conflict("another engine of qiao manages this network namespace")
        .why(format!("that engine, with another run directory, created the interface `{link}`"))
        .fix("qiao --run-dir DIR …            (DIR is the run directory of that engine)")
        .fix(format!("ip link delete {link}      (if that engine is no more)"))
}

impl From<ApplyError> for EngineError {
    fn from(error: ApplyError) -> Self {
        if error.source.is_full() {
            let refusal = Refusal::new(Code::Exhausted, "the bridge of the network is full");
            return refusal
                .why("a bridge of Linux has no more than 1023 ports (BR_MAX_PORTS, net/bridge/br_private.h)")
                .fix("qiao network create NAME      (another network, with a bridge of its own)")
                .into();
        }
        EngineError::failed("change the kernel", error)
    }
}

impl From<OpenError> for EngineError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Gone => Refusal::not_found("there is no such network namespace").into(),
            OpenError::Refused(refusal) => refusal.into(),
            OpenError::Failed(error) => EngineError::failed("open the network namespace", error),
        }
    }
}
