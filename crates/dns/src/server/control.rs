//! What watchers ask: `log` for every question from now on; `ask SOURCE NAME TYPE` for the answer that a container
//! would get, and why.

use super::asked::Came;
use super::watcher::Watcher;
use super::{Back, Server};
use crate::epoll::{Interest, Token};
use crate::source::Source;
use domain::base::iana::Rtype;
use domain::base::{Message, Name};
use domain::rdata::AllRecordData;
use rustix::net::SocketFlags;
use std::io;
use std::net::IpAddr;

/// The network whose gateway is asked, by whom, and the message.
type Question = (usize, IpAddr, Vec<u8>);

/// Watchers at one time.
const MOST: usize = 16;

impl<S: Source> Server<S> {
    pub(super) fn accept_watcher(&mut self) {
        let Some(control) = &self.control else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(control, flags) else { return };
        let number = self.number();
        let room = self.watchers.len() < MOST;
        if room && self.epoll.add(&socket, Token::Watcher(number), Interest::Read).is_ok() {
            self.watchers.insert(number, Watcher::new(socket));
        }
    }

    pub(super) fn serve_watcher(&mut self, number: u32) -> io::Result<()> {
        self.refresh()?;
        let lines = self.watchers.get_mut(&number).and_then(Watcher::receive);
        let Some(lines) = lines else {
            self.watchers.remove(&number);
            return Ok(());
        };
        for line in lines {
            self.do_as_told(number, &line);
        }
        Ok(())
    }

    fn do_as_told(&mut self, number: u32, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["log"] => {
                if let Some(watcher) = self.watchers.get_mut(&number) {
                    watcher.logs = true;
                    self.remarks.iter().for_each(|remark| watcher.tell(&format!("# {remark}")));
                }
            }
            ["ask", source, name, rtype] => match self.question(source, (name, rtype)) {
                Ok((zone, source, message)) => {
                    let came = Came { message: &message, zone, source, back: Back::Watcher(number) };
                    let mut answer = Vec::new();
                    if self.answer(&came, &mut answer) {
                        self.tell_answer(number, &answer);
                    }
                }
                Err(why) => self.tell(number, &format!("! {why}\n.")),
            },
            _ => self.tell(number, "! log, or ask SOURCE NAME TYPE\n."),
        }
    }

    fn question(&self, source: &str, (text, rtype): (&str, &str)) -> Result<Question, String> {
        let nobody = format!("nobody on any network is at {source}");
        let source: IpAddr = source.parse().map_err(|_| nobody.clone())?;
        let is_there = |zone: &std::rc::Rc<crate::zone::Zone>| {
            zone.member(source).is_some() || zone.listen.contains(&source)
        };
        let zone = self.snapshot.zones().iter().position(is_there).ok_or(nobody)?;
        let name: Name<Vec<u8>> = text.parse().map_err(|_| format!("`{text}` is not a name"))?;
        let rtype: Rtype = rtype.parse().map_err(|_| format!("`{rtype}` is not a type of record"))?;
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(name.as_slice());
        message.extend(rtype.to_int().to_be_bytes());
        message.extend([0, 1]);
        Ok((zone, source, message))
    }

    fn tell(&self, number: u32, line: &str) {
        if let Some(watcher) = self.watchers.get(&number) {
            watcher.tell(line);
        }
    }

    /// Tells an answer: its code, one line for each record, and a dot.
    pub(super) fn tell_answer(&mut self, number: u32, answer: &[u8]) {
        let Ok(message) = Message::from_slice(answer) else { return };
        self.tell(number, &format!("= {}", message.header().rcode()));
        for record in message.answer().into_iter().flatten().flatten() {
            let owner = record.owner().to_string();
            let head =
                format!("{} {} {}", owner.trim_end_matches('.'), record.ttl().as_secs(), record.rtype());
            if let Ok(Some(record)) = record.to_any_record::<AllRecordData<_, _>>().map(Some) {
                self.tell(number, &format!("{head} {}", record.data()));
            }
        }
        self.tell(number, ".");
    }
}
