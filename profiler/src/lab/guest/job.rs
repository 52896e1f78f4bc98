//! One job in a guest, seen from outside: a line to the guest's port, and its lines back.

use crate::note;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use crate::host::shell;

/// What stands before the lines that are not the job's own output.
const ERROR: &str = "=error ";
const EXIT: &str = "=exit ";

/// Runs `words` in the guest whose port is the socket, passes on what they say, and gives their exit code.
pub fn run(socket: &Path, words: &[String]) -> anyhow::Result<ExitCode> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("no guest at {}", socket.display()))?;
    writeln!(stream, "{}", shell::line(words))?;
    let mut out = std::io::stdout().lock();
    for said in BufReader::new(stream).split(b'\n') {
        let said = said.context("the guest's port")?;
        let said = String::from_utf8_lossy(&said);
        if let Some(code) = said.strip_prefix(EXIT) {
            return Ok(ExitCode::from(code.trim().parse().unwrap_or(u8::MAX)));
        }
        match said.strip_prefix(ERROR) {
            Some(error) => note!("{error}"),
            None => {
                writeln!(out, "{said}")?;
                out.flush()?;
            }
        }
    }
    bail!("the guest ended before its job did")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    #[test]
    fn the_exit_code_is_the_jobs_and_a_lost_guest_is_an_error() {
        let path = std::env::temp_dir().join(format!("netstrata-job-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let guest = thread::spawn(move || {
            for answer in ["hello\n=error no luck\n=exit 7\n", "hel"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
                assert_eq!(asked, "'work'\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let words = ["work".to_owned()];
        assert_eq!(format!("{:?}", run(&path, &words).unwrap()), format!("{:?}", ExitCode::from(7)));
        assert!(run(&path, &words).unwrap_err().to_string().contains("the guest ended"));
        guest.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
