//! curl, if it is installed.

use std::process::{Command, Stdio};

/// A process that downloads; or the reason why there is none.
pub fn download(url: &str) -> Result<Command, String> {
    let version = Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        return Err("curl is not installed".into());
    }
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command.args(["--output", "/dev/null", url]);
    Ok(command)
}
