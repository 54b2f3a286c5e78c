//! Prepares a launch on any device from the entries of `--arg`.

use super::entry::{Buffer, Bytes, Entry};
use crate::arguments::Run;
use crate::outcome::Failure;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The memory of a device, and the module's variables in it.
pub trait Device {
    /// Allocates a buffer and returns its address.
    fn allocate(&mut self, bytes: u64) -> Result<u64>;
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()>;
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()>;
    /// Writes the first bytes of a global or constant variable.
    fn write_variable(&mut self, name: &str, bytes: &[u8]) -> Result<()>;
}

/// The arguments of a launch, and the buffers to save after it.
pub struct Prepared {
    /// The bytes of each argument.
    pub values: Vec<Vec<u8>>,
    /// The file, address and length in bytes of each buffer to save.
    results: Vec<(PathBuf, u64, u64)>,
}

/// Allocates and fills the buffers, and sets the variables.
pub fn prepare(options: &Run, device: &mut dyn Device) -> Result<Prepared, Failure> {
    let entries = &options.entries;
    let mut results = Vec::new();
    let mut addresses = Vec::new();
    for entry in entries {
        addresses.push(match entry {
            Entry::Buffer(buffer) | Entry::Beside(buffer) => {
                let (address, length) = fill(buffer, device)?;
                results.extend(buffer.to.clone().map(|to| (to, address, length)));
                Some(address)
            }
            Entry::Pointers(of) => Some(device.allocate(8 * of.len() as u64)?),
            _ => None,
        });
    }
    let address = |position: usize| match addresses.get(position) {
        Some(Some(address)) => Ok(*address),
        Some(None) => Err(usage(format!("--arg {position} is not a buffer"))),
        None => Err(usage(format!(
            "there is no --arg {position}: there are {}, counted from 0",
            entries.len()
        ))),
    };
    let mut values = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Value { bytes, pointers } => {
                let mut bytes = match bytes {
                    Bytes::Given(bytes) => bytes.clone(),
                    Bytes::File(file) => contents(file)?,
                };
                for (offset, of) in pointers {
                    let end = offset.checked_add(8);
                    let Some(place) = end.and_then(|end| bytes.get_mut(*offset..end)) else {
                        let message = format!(
                            "--arg {position} has {} bytes; an address does not fit at offset {offset}",
                            bytes.len()
                        );
                        return Err(usage(message));
                    };
                    place.copy_from_slice(&address(*of)?.to_le_bytes());
                }
                values.push(bytes);
            }
            Entry::Buffer(_) => values.push(address(position)?.to_le_bytes().to_vec()),
            Entry::Same(of) => values.push(address(*of)?.to_le_bytes().to_vec()),
            Entry::Pointers(of) => {
                let mut pointers = Vec::new();
                for of in of {
                    pointers.extend(address(*of)?.to_le_bytes());
                }
                let at = address(position)?;
                device.write(at, &pointers)?;
                values.push(at.to_le_bytes().to_vec());
            }
            Entry::Beside(_) => {}
            Entry::Symbol { name, from } => device.write_variable(name, &contents(from)?)?,
        }
    }
    Ok(Prepared { values, results })
}

/// Wrong usage of the command.
fn usage(message: String) -> Failure {
    Failure {
        report: miette!("{message}"),
        code: 2,
    }
}

/// Allocates and fills a buffer. Returns its address and length in bytes.
fn fill(buffer: &Buffer, device: &mut dyn Device) -> Result<(u64, u64)> {
    let contents = buffer.from.as_deref().map(contents).transpose()?;
    let length = contents
        .as_ref()
        .map_or(buffer.bytes.unwrap_or(0), |contents| contents.len() as u64);
    let address = device.allocate(length)?;
    if let Some(contents) = &contents {
        device.write(address, contents)?;
    }
    Ok((address, length))
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", path.display()))
}

impl Prepared {
    /// Saves buffers to their files, in pieces: there may be no memory for a second copy.
    pub fn save(&self, device: &dyn Device) -> Result<()> {
        const PIECE: u64 = 1 << 20;
        for (path, address, length) in &self.results {
            let cannot = || format!("{} cannot be written", path.display());
            let mut file = std::fs::File::create(path).into_diagnostic().wrap_err_with(cannot)?;
            for start in (0..*length).step_by(PIECE as usize) {
                let mut bytes = vec![0; PIECE.min(length - start) as usize];
                device.read(address + start, &mut bytes)?;
                file.write_all(&bytes).into_diagnostic().wrap_err_with(cannot)?;
            }
        }
        Ok(())
    }
}
