//! A file from a local server: nginx, or a thread of this process if that is not installed. Each
//! sample is a process that downloads it and ends; its time and its processor time are taken from
//! outside.

use crate::cases::Case;
use crate::offer::{DownloadPlace, Downloader, Sink, Skipped};
use crate::options::Options;
use crate::peers;
use crate::row::{Measured, Row};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// First argument of a process that downloads.
pub const CHILD: &str = "--download-child";

const ROUNDS: usize = 5;

const MIB: u64 = 1 << 20;

struct Sample {
    wall: Duration,
    processor: Duration,
}

/// What was measured: both cases of one run share their processes.
#[derive(Default)]
pub struct Downloads {
    rows: Option<Vec<Result<Found, Skipped>>>,
}

#[derive(Clone)]
struct Found {
    implementation: &'static str,
    note: String,
    wall: Vec<f64>,
    processor: Vec<f64>,
}

impl Downloads {
    pub fn measure(&mut self, case: Case, options: &Options) -> Vec<Row> {
        let rows = self.rows.get_or_insert_with(|| run(options));
        let row = |row: &Result<Found, Skipped>| match row {
            Ok(found) => Ok(Measured {
                implementation: found.implementation,
                samples: match case {
                    Case::DownloadCpu => found.processor.clone(),
                    _ => found.wall.clone(),
                },
                note: Some(found.note.clone()),
            }),
            Err(skipped) => Err(Skipped {
                implementation: skipped.implementation,
                why: skipped.why.clone(),
            }),
        };
        rows.iter().map(row).collect()
    }
}

fn run(options: &Options) -> Vec<Result<Found, Skipped>> {
    let downloaders = peers::downloaders().into_iter();
    let downloaders = downloaders.filter(|peer| options.wants(peer.implementation));
    let bytes = options.mib * MIB;
    let server = match Server::start(bytes) {
        Ok(server) => server,
        Err(error) => {
            let why = format!("no server: {error}");
            let skip = |peer: Downloader| {
                Err(Skipped {
                    implementation: peer.implementation,
                    why: why.clone(),
                })
            };
            return downloaders.map(skip).collect();
        }
    };
    let mut rows = Vec::new();
    let mut turns = Vec::new();
    for peer in downloaders {
        let implementation = peer.implementation;
        match command(&peer, &server.url, bytes) {
            Ok(command) => {
                let notes = [peer.note, server.name, &format!("{} MiB", options.mib)];
                let notes: Vec<_> = notes.into_iter().filter(|n| !n.is_empty()).collect();
                let found = Found {
                    implementation,
                    note: notes.join("; "),
                    wall: Vec::new(),
                    processor: Vec::new(),
                };
                turns.push((command, Ok(found)));
            }
            Err(why) => rows.push(Err(Skipped {
                implementation,
                why,
            })),
        }
    }
    let count = turns.len();
    for round in 0..options.rounds.unwrap_or(ROUNDS) {
        // As in `measure.rs`: nobody always comes after the same neighbour.
        for place in 0..count {
            let (command, row) = &mut turns[(round + place) % count];
            let Ok(found) = row else { continue };
            match sample(command) {
                Ok(sample) => {
                    found.wall.push(sample.wall.as_secs_f64());
                    found.processor.push(sample.processor.as_secs_f64());
                }
                Err(error) => {
                    *row = Err(Skipped {
                        implementation: found.implementation,
                        why: format!("its process failed: {error}"),
                    });
                }
            }
        }
    }
    rows.extend(turns.into_iter().map(|(_, row)| row));
    rows
}

fn command(peer: &Downloader, url: &str, bytes: u64) -> Result<Command, String> {
    match peer.place {
        DownloadPlace::Here(_) => {
            // This very program, even if it was built anew since it was started.
            let mut command = Command::new("/proc/self/exe");
            command.args([CHILD, peer.implementation, url, &bytes.to_string()]);
            Ok(command)
        }
        DownloadPlace::There(command) => command(url),
    }
}

fn sample(command: &mut Command) -> io::Result<Sample> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let usage = wait(&mut child)?;
    let wall = start.elapsed();
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(Sample {
        wall,
        processor: time(usage.ru_utime) + time(usage.ru_stime),
    })
}

/// Waits for the end of a process, and says what it has used.
fn wait(child: &mut Child) -> io::Result<libc::rusage> {
    let id = child.id() as libc::pid_t;
    let mut status = 0;
    // SAFETY: both structures are live; all zeroes is a valid rusage. The process is our child and
    // is waited for here alone.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let waited = libc::wait4(id, &mut status, 0, &mut usage);
        (waited, usage)
    };
    if waited != id {
        return Err(io::Error::last_os_error());
    }
    match status {
        0 => Ok(usage),
        status => Err(io::Error::other(format!("its status is {status:#x}"))),
    }
}

/// The other side: `bench --download-child IMPLEMENTATION URL BYTES`.
pub fn child(args: &[String]) -> ExitCode {
    let [name, url, bytes] = args else {
        eprintln!("bench: {CHILD} is for bench itself");
        return ExitCode::from(2);
    };
    let mut peers = peers::downloaders().into_iter();
    let place = peers
        .find(|peer| peer.implementation == name)
        .map(|peer| peer.place);
    let (Some(DownloadPlace::Here(download)), Ok(expected)) = (place, bytes.parse()) else {
        eprintln!("bench: {CHILD} is for bench itself");
        return ExitCode::from(2);
    };
    let sink = File::create("/dev/null").map(|file| Sink { file, expected });
    match sink.and_then(|sink| download(url.clone(), sink)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where it is downloaded from.
struct Server {
    name: &'static str,
    url: String,
    /// Ends with this.
    _nginx: Option<Nginx>,
}

impl Server {
    fn start(bytes: u64) -> io::Result<Server> {
        let programs = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];
        if let Some(program) = programs.into_iter().find(|path| Path::new(path).exists()) {
            let nginx = Nginx::start(program, bytes)?;
            return Ok(Server {
                name: "from nginx",
                url: format!("http://127.0.0.1:{}/file", nginx.port),
                _nginx: Some(nginx),
            });
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}/file", listener.local_addr()?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A downloader that has failed says so itself.
                let _ = send(stream, bytes);
            }
        });
        Ok(Server {
            name: "from a thread of the bench: nginx is not installed",
            url,
            _nginx: None,
        })
    }
}

/// One answer, whatever is asked.
fn send(mut stream: TcpStream, bytes: u64) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )?;
    let piece = vec![0; MIB as usize];
    for _ in 0..bytes / MIB {
        stream.write_all(&piece)?;
    }
    Ok(())
}

/// An nginx with a folder of its own. It ends, and the folder goes, when this is dropped.
struct Nginx {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    fn start(program: &str, bytes: u64) -> io::Result<Nginx> {
        let folder = std::env::temp_dir().join(format!("bench-nginx-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // What has no blocks takes no room on the disk.
        File::create(folder.join("file"))?.set_len(bytes)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        // It cannot be told to choose a port, so one is tried after the other.
        let mut why = io::Error::other("it does not answer");
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port();
            fs::write(folder.join("nginx.conf"), configuration(port))?;
            let process = Command::new(program)
                .arg("-p")
                .arg(&folder)
                .args(["-e", "error.log", "-c", "nginx.conf"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let mut nginx = Nginx {
                process,
                folder: folder.clone(),
                port,
            };
            match nginx.answers() {
                Ok(()) => return Ok(nginx),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn answers(&mut self) -> io::Result<()> {
        for _ in 0..200 {
            if let Some(status) = self.process.try_wait()? {
                return Err(io::Error::other(format!("nginx has ended: {status}")));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(25));
        }
        Err(io::Error::other("nginx does not listen"))
    }
}

fn configuration(port: u16) -> String {
    let user = match Path::new("/proc/self").metadata() {
        Ok(owner) if std::os::unix::fs::MetadataExt::uid(&owner) == 0 => "user root;",
        _ => "",
    };
    format!(
        "{user} daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; sendfile on; client_body_temp_path 1; proxy_temp_path 2;\n\
         fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;\n\
         server {{ listen 127.0.0.1:{port}; root .; }} }}\n"
    )
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
