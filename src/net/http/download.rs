//! Downloads that go on where an earlier one has ended.

use super::answer::Answer;
use super::builder::RequestBuilder;
use super::error::{HttpError, Phase, RequestError};
use super::settings::{Limits, Timeouts};
use std::io::Write;
use std::time::Duration;

/// What tells one version of a file from another. A server sends it with the file, and it must be
/// kept with the part that has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Validator {
    /// The `ETag` field, a strong one: with its quotes, and without `W/`.
    ETag(String),
    /// The `Last-Modified` field.
    Modified(String),
}

impl Validator {
    /// That of the file of an answer; `None` if its server sends none that is good for a resume.
    ///
    /// A weak `ETag` is not: it does not change with every byte. `Last-Modified` is only if it is a
    /// second or more before the answer's `Date`, since a file may change twice in a second (RFC
    /// 9110, 8.8.2.2). Both must be of the form `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn of(answer: &Answer) -> Option<Validator> {
        match answer.header("etag") {
            Some(tag) if is_strong(tag) => return Some(Validator::ETag(tag.to_owned())),
            Some(_) => return None,
            None => {}
        }
        let modified = answer.header("last-modified")?;
        let is_earlier = time(modified)? < time(answer.header("date")?)?;
        is_earlier.then(|| Validator::Modified(modified.to_owned()))
    }

    /// The validator that a field is, as [`field`](Self::field) gives it; `None` if it is neither
    /// an `ETag`, strong or not, nor a date.
    pub fn from_field(field: &str) -> Option<Validator> {
        if is_strong(field.strip_prefix("W/").unwrap_or(field)) {
            return Some(Validator::ETag(field.to_owned()));
        }
        time(field).map(|_| Validator::Modified(field.to_owned()))
    }

    /// The field itself, to be kept.
    pub fn field(&self) -> &str {
        match self {
            Validator::ETag(tag) => tag,
            Validator::Modified(date) => date,
        }
    }

    /// Does this part of a file belong to the version that is meant?
    fn is_of(&self, part: &Answer) -> bool {
        match self {
            Validator::ETag(tag) => part.header("etag") == Some(tag),
            // A part need not repeat it (RFC 9110, 15.3.7).
            Validator::Modified(date) => part.header("last-modified").is_none_or(|d| d == date),
        }
    }
}

fn is_strong(tag: &str) -> bool {
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

/// Year, month, day, hour, minute and second of a date as servers write it (RFC 9110, 5.6.7).
fn time(date: &str) -> Option<[u64; 6]> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let fixed = |text: &str, length| digits(text).filter(|_| text.len() == length);
    let (_, date) = date.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = date.split([' ', ':']);
    let mut part = || parts.next();
    let day = fixed(part()?, 2)?;
    let month = part()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let year = fixed(part()?, 4)?;
    let (hour, minute) = (fixed(part()?, 2)?, fixed(part()?, 2)?);
    let time = [year, month, day, hour, minute, fixed(part()?, 2)?];
    parts.next().is_none().then_some(time)
}

/// What a download does that was to go on, and cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Changed {
    /// It fails, with [`HttpError::Changed`] or [`HttpError::NoRange`].
    #[default]
    Fail,
    /// It begins anew: [`Resumed::start`] is 0.
    StartAnew,
}

/// A download that is put together, from [`Client::download`](super::Client::download).
///
/// ```no_run
/// use hardswitch::net::http::{Changed, Client, Validator};
/// use std::fs::OpenOptions;
/// use std::io::{Seek, SeekFrom};
///
/// # fn saved() -> Option<Validator> { None }
/// let mut file = OpenOptions::new().create(true).append(false).write(true).open("map.pak")?;
/// let mut download = Client::new().download("http://example.com/map.pak");
/// if let Some(validator) = saved() {
///     download = download
///         .resume_from(file.metadata()?.len(), validator)
///         .if_changed(Changed::StartAnew);
/// }
/// let mut resumed = download.send()?;
/// file.set_len(resumed.start())?;
/// file.seek(SeekFrom::Start(resumed.start()))?;
/// resumed.copy_to(&mut file, |_, _| {})?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Download {
    request: RequestBuilder,
    from: Option<(u64, Validator)>,
    changed: Changed,
}

impl Download {
    pub(super) fn new(request: RequestBuilder) -> Download {
        Download {
            // A part of a compressed file is of no use.
            request: request.header("Accept-Encoding", "identity"),
            from: None,
            changed: Changed::default(),
        }
    }

    /// The first `bytes` of the file are there already, and are of this version. The server is
    /// asked for the rest if the file is still the same (`If-Range`). With 0 bytes the whole file
    /// is asked for.
    ///
    /// The server has no say in whether `bytes` are all: for a file that may be complete, compare
    /// with the length of a HEAD.
    pub fn resume_from(mut self, bytes: u64, validator: Validator) -> Self {
        self.from = Some((bytes, validator));
        self
    }

    /// What to do if the file is another one now, or shorter, or the server sends no parts.
    pub fn if_changed(mut self, changed: Changed) -> Self {
        self.changed = changed;
        self
    }

    /// As [`RequestBuilder::header`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
    /// As [`RequestBuilder::timeout`].
    pub fn timeout(mut self, total: Duration) -> Self {
        self.request = self.request.timeout(total);
        self
    }
    /// As [`RequestBuilder::timeouts`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.request = self.request.timeouts(timeouts);
        self
    }
    /// As [`RequestBuilder::limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.request = self.request.limits(limits);
        self
    }

    /// As [`RequestBuilder::redirects`].
    pub fn redirects(mut self, most: u32) -> Self {
        self.request = self.request.redirects(most);
        self
    }

    /// Sends the request, and returns when the head of its answer has come.
    ///
    /// Errors: as [`RequestBuilder::send`]; [`HttpError::Status`] for an answer that is no file;
    /// those that [`Changed::Fail`] names. An answer of 416 never means that the file is complete.
    pub fn send(mut self) -> Result<Resumed, RequestError> {
        let Some((from, validator)) = self.from.filter(|(from, _)| *from > 0) else {
            return Resumed::whole(self.request.send()?);
        };
        if let Validator::ETag(tag) = &validator {
            if !is_strong(tag) {
                let error = HttpError::BadRequest("a weak ETag does not tell versions apart");
                return Err(self.request.failed(Phase::Preparing, error));
            }
        }
        // A new beginning has what is left of the time.
        self.request.begin();
        let anew = self.request.again();
        let asked = self
            .request
            .header("Range", &format!("bytes={from}-"))
            .header("If-Range", validator.field());
        let mut answer = asked.send()?;
        let fails = self.changed == Changed::Fail;
        match answer.status() {
            206 => {
                let Part {
                    start,
                    bytes,
                    length,
                } = match part(&answer) {
                    Ok(part) => part,
                    Err(error) => return Err(answer.refused(error)),
                };
                answer.is_part(bytes);
                if start != from {
                    let why = "it is another part than was asked for";
                    return Err(answer.refused(HttpError::BadAnswer(why)));
                }
                if validator.is_of(&answer) {
                    return Ok(Resumed {
                        answer,
                        start,
                        length,
                    });
                }
                if fails {
                    return Err(answer.refused(HttpError::Changed));
                }
            }
            416 => {
                if fails {
                    let length = answer.header("content-range").and_then(unsatisfied);
                    return Err(answer.refused(HttpError::NoRange { from, length }));
                }
            }
            200..=299 if fails => return Err(answer.refused(HttpError::Changed)),
            _ => return Resumed::whole(answer),
        }
        drop(answer);
        Resumed::whole(anew.send()?)
    }
}

/// The part of a file that an answer of 206 is.
struct Part {
    /// Its first byte, and how many there are.
    start: u64,
    bytes: u64,
    /// The length of the file.
    length: Option<u64>,
}

fn part(answer: &Answer) -> Result<Part, HttpError> {
    let bad = HttpError::BadAnswer("its Content-Range");
    let mut fields = answer.headers().filter(|field| field.0 == "content-range");
    let (Some((_, range)), None) = (fields.next(), fields.next()) else {
        return Err(bad);
    };
    let parsed = range.strip_prefix("bytes ").and_then(|range| {
        let (range, length) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let length = match length {
            "*" => None,
            length => Some(digits(length)?),
        };
        Some((digits(first)?, digits(last)?, length))
    });
    let Some((first, last, length)) = parsed else {
        return Err(bad);
    };
    let fits = last.checked_sub(first).and_then(|n| n.checked_add(1));
    let is_long = |bytes: &u64| answer.content_length().is_none_or(|body| body == *bytes);
    let Some(bytes) = fits.filter(is_long) else {
        return Err(bad);
    };
    if length.is_some_and(|length| last >= length) {
        return Err(bad);
    }
    Ok(Part {
        start: first,
        bytes,
        // Without a length of the whole, the part is to be what was asked for: all the rest.
        length: length.or(last.checked_add(1)),
    })
}

/// The length of the file, from an answer of 416.
fn unsatisfied(range: &str) -> Option<u64> {
    digits(range.strip_prefix("bytes */")?)
}

fn digits(text: &str) -> Option<u64> {
    let are = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| are)
}

/// A file that comes, from its beginning or from where an earlier download has ended.
#[derive(Debug)]
pub struct Resumed {
    answer: Answer,
    start: u64,
    length: Option<u64>,
}

impl Resumed {
    fn whole(answer: Answer) -> Result<Resumed, RequestError> {
        let answer = answer.success()?;
        match answer.status() {
            // 203: a proxy has changed it on its way.
            200 | 203 => {}
            206 => {
                let why = "it is a part, and the whole was asked for";
                return Err(answer.refused(HttpError::BadAnswer(why)));
            }
            status => {
                let reason = answer.reason().to_owned();
                return Err(answer.refused(HttpError::Status { status, reason }));
            }
        }
        let length = answer.content_length();
        Ok(Resumed {
            answer,
            start: 0,
            length,
        })
    }

    /// Which byte of the file comes first: 0, or where the earlier download has ended. What was
    /// there from here on is to be replaced.
    pub fn start(&self) -> u64 {
        self.start
    }
    /// The length of the whole file, if the server says it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
    /// What to keep, for [`Download::resume_from`].
    pub fn validator(&self) -> Option<Validator> {
        Validator::of(&self.answer)
    }
    /// The answer.
    pub fn answer(&mut self) -> &mut Answer {
        &mut self.answer
    }

    /// Writes what comes to `sink`, as [`Answer::copy_to`]; `progress` gets bytes of the whole
    /// file. Returns the length of the whole file.
    ///
    /// Error, besides those: [`HttpError::ShortBody`] if the server has sent less than the file.
    pub fn copy_to(
        &mut self,
        sink: &mut (impl Write + ?Sized),
        mut progress: impl FnMut(u64, Option<u64>),
    ) -> Result<u64, RequestError> {
        let (start, length) = (self.start, self.length);
        let told = |got, _| progress(start.saturating_add(got), length);
        self.answer.copy_to(sink, told)?;
        self.check_length()
    }

    /// The length of the whole file, once [`answer`](Self::answer) was read to its end. Error:
    /// [`HttpError::ShortBody`] if the server has sent less than the file.
    pub fn check_length(&self) -> Result<u64, RequestError> {
        let got = self.start.saturating_add(self.answer.received());
        match self.length {
            Some(length) if length != got => {
                let expected = Some(length);
                let short = HttpError::ShortBody { got, expected };
                Err(self.answer.failed_in(Phase::ReadingBody, short))
            }
            _ => Ok(got),
        }
    }
}
