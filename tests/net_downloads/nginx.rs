//! Downloads from an nginx that is killed and started again, and whose files change meanwhile.

use super::{content, open_descriptors, ALONE, LATE};
use crate::common::{eventually, Random};
use hardswitch::net::http::{Changed, Client, Limits};
use hardswitch::{offload, MainLoop, Tasklet};
use std::cell::Cell;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

const PROGRAM: &str = "/usr/sbin/nginx";
const FILES: u64 = 24;
/// A version of a file has so many bytes, and one more for each version before it.
const SIZE: u64 = 400_000;

/// A folder of files, and an nginx that serves them. It ends, and the folder goes, when this is
/// dropped.
struct Nginx {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Nginx {
    fn new() -> Nginx {
        let folder = std::env::temp_dir().join(format!("net-downloads-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        // It cannot be told to choose a port.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut nginx = Nginx {
            folder,
            port: free.local_addr().unwrap().port(),
            process: None,
        };
        let user = match Path::new("/proc/self").metadata() {
            Ok(owner) if owner.uid() == 0 => "user root;",
            _ => "",
        };
        let text = format!(
            "{user} daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 128; }}\n\
             http {{ access_log off; client_body_temp_path 1; proxy_temp_path 2;\n\
             fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5; limit_rate 1m;\n\
             server {{ listen 127.0.0.1:{}; root .; }} }}\n",
            nginx.port
        );
        fs::write(nginx.folder.join("nginx.conf"), text).unwrap();
        for file in 0..FILES {
            nginx.write(file, 0);
        }
        drop(free);
        nginx.start();
        nginx
    }

    /// The file becomes this version, all at once.
    fn write(&self, file: u64, version: u64) {
        let (new, name) = (self.folder.join("new"), self.folder.join(file.to_string()));
        let size = usize::try_from(SIZE + version).unwrap();
        fs::write(&new, content(file, version, size)).unwrap();
        fs::rename(new, name).unwrap();
    }

    fn start(&mut self) {
        // Who connects may have its port for a moment.
        for _ in 0..100 {
            let mut command = Command::new(PROGRAM);
            command
                .arg("-p")
                .arg(&self.folder)
                .args(["-e", "error.log", "-c", "nginx.conf"]);
            let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut process = silent.stderr(Stdio::null()).spawn().unwrap();
            while process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                    self.process = Some(process);
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("nginx does not start");
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Loads a file until it is whole; returns its version, and how often that took.
fn load(client: &Client, port: u16, file: u64) -> (u64, u64) {
    let url = format!("http://127.0.0.1:{port}/{file}");
    let (mut bytes, mut validator) = (Vec::new(), None);
    for attempt in 1..10_000 {
        let limits = Limits {
            total: Some(LATE),
            ..Limits::default()
        };
        let mut download = client.download(&url).limits(limits);
        if let Some(validator) = validator.take() {
            let resumed = download.resume_from(bytes.len() as u64, validator);
            download = resumed.if_changed(Changed::StartAnew);
        }
        let done = download.send().and_then(|mut resumed| {
            bytes.truncate(usize::try_from(resumed.start()).unwrap());
            validator = resumed.validator();
            resumed.copy_to(&mut bytes, |_, _| {})
        });
        if let Ok(length) = done {
            let version = length.checked_sub(SIZE).expect("a version's length");
            assert!(bytes == content(file, version, bytes.len()), "{url}");
            return (version, attempt);
        }
        // What is gone for a moment need not be asked for at once.
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{url} is never whole");
}

#[test]
fn files_of_an_nginx_that_is_killed_and_started_again_become_whole() {
    if !Path::new(PROGRAM).exists() {
        return println!("skipped: there is no {PROGRAM}");
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    super::set_workers();
    let mut nginx = Nginx::new();
    let port = nginx.port;
    // What is made once, and stays.
    load(&Client::new(), port, 0);
    offload::call(move || load(&Client::new(), port, 0)).unwrap();
    let (descriptors, tasklets) = (open_descriptors(), hardswitch::stats().tasklets);
    let over = Arc::new(AtomicBool::new(false));
    let end = over.clone();
    let kills = thread::spawn(move || {
        let (mut rng, mut kills, mut versions) = (Random(7), 0, vec![0; FILES as usize]);
        while !end.load(Ordering::SeqCst) && kills < 12 {
            thread::sleep(Duration::from_millis(50 + rng.below(150)));
            nginx.kill();
            let file = rng.below(FILES);
            let version = &mut versions[file as usize];
            *version += 1;
            nginx.write(file, *version);
            nginx.start();
            kills += 1;
        }
        (nginx, kills)
    });
    let client = Client::new();
    let (whole, attempts) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for file in 0..FILES {
        let (client, whole, attempts) = (client.clone(), whole.clone(), attempts.clone());
        let roomy = Tasklet::builder().stack_size(256 * 1024);
        let loads = move || {
            let (_, took) = match file % 4 {
                0 => offload::call(move || load(&client, port, file)).unwrap(),
                _ => load(&client, port, file),
            };
            whole.set(whole.get() + 1);
            attempts.set(attempts.get() + took);
        };
        roomy.spawn(loads).unwrap();
    }
    MainLoop::current().unwrap().run_until_idle().unwrap();
    over.store(true, Ordering::SeqCst);
    let (nginx, kills) = kills.join().unwrap();
    drop((client, nginx));
    assert_eq!(whole.get(), FILES);
    println!(
        "{FILES} files in {} attempts, of an nginx that was killed {kills} times",
        attempts.get()
    );
    assert!(attempts.get() > FILES, "nothing was cut off");
    assert_eq!(MainLoop::current().unwrap().waiting(), (0, 0));
    assert_eq!(hardswitch::stats().tasklets, tasklets);
    eventually("all descriptors are closed", || {
        open_descriptors() == descriptors
    });
}
