//! The models of GPU.
//!
//! Threads, blocks, registers and shared memory come from the table "Technical Specifications per Compute Capability" of NVIDIA's CUDA
//! C++ Programming Guide. Multiprocessors, L2, memory, clocks and power come from the data sheet or architecture whitepaper of the GPU.
//! The CUDA version is the oldest that knows the GPU and that this project supports (12.0), with its driver from the table "CUDA Toolkit and
//! Corresponding Driver Versions" of the CUDA release notes: an old driver is the stricter judge.

/// A model of GPU and the oldest driver for it.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Compute capability.
    pub capability: (u32, u32),
    /// The name that the driver reports. It begins with `Virtual`: no figure may pass for one of a real GPU.
    pub name: &'static str,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Resident threads of a multiprocessor.
    pub threads: u32,
    /// Resident blocks of a multiprocessor.
    pub blocks: u32,
    /// Bytes of shared memory of a multiprocessor. A block can opt in to 1 KiB less.
    pub shared: u32,
    /// Bytes of L2 cache.
    pub l2: u32,
    /// Bytes of device memory.
    pub memory: u64,
    /// Clock of the multiprocessors, in MHz.
    pub clock_mhz: u32,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: u32,
    /// Bytes a second of device memory.
    pub bandwidth: f64,
    /// Dense f16 matrix floating-point operations a clock and multiprocessor.
    pub matrix_rate: f64,
    /// Idle watts. An assumption.
    pub idle_watts: f64,
    /// The power limit in watts.
    pub power_limit: u32,
    /// The driver's CUDA version: 12040 for 12.4.
    pub cuda: u32,
    /// The driver version.
    pub driver: &'static str,
}

/// 32-bit registers of a multiprocessor, and of a block.
pub const REGISTERS: u32 = 65_536;
/// Bytes of shared memory that the system reserves in each block.
pub const RESERVED_SHARED: u32 = 1024;
/// Bytes of shared memory of a block without opt-in.
pub const PLAIN_SHARED: u32 = 48 << 10;

const TWELVE_0: (u32, &str) = (12_000, "525.60.13");
const TWELVE_8: (u32, &str) = (12_080, "570.26");

/// Every profile, oldest first.
pub const PROFILES: [Profile; 6] = [
    // NVIDIA A100 data sheet (80 GB SXM) and GA100 whitepaper.
    Profile {
        capability: (8, 0),
        name: "Virtual A100",
        multiprocessors: 108,
        threads: 2048,
        blocks: 32,
        shared: 164 << 10,
        l2: 40 << 20,
        memory: 80 << 30,
        clock_mhz: 1410,
        memory_clock_mhz: 1593,
        bandwidth: 2.039e12,
        matrix_rate: 2048.0,
        idle_watts: 60.0,
        power_limit: 400,
        cuda: TWELVE_0.0,
        driver: TWELVE_0.1,
    },
    // NVIDIA GA102 whitepaper.
    Profile {
        capability: (8, 6),
        name: "Virtual RTX 3090",
        multiprocessors: 82,
        threads: 1536,
        blocks: 16,
        shared: 100 << 10,
        l2: 6 << 20,
        memory: 24 << 30,
        clock_mhz: 1695,
        memory_clock_mhz: 9751,
        bandwidth: 936e9,
        matrix_rate: 1024.0,
        idle_watts: 30.0,
        power_limit: 350,
        cuda: TWELVE_0.0,
        driver: TWELVE_0.1,
    },
    // NVIDIA Ada whitepaper.
    Profile {
        capability: (8, 9),
        name: "Virtual RTX 4090",
        multiprocessors: 128,
        threads: 1536,
        blocks: 24,
        shared: 100 << 10,
        l2: 72 << 20,
        memory: 24 << 30,
        clock_mhz: 2520,
        memory_clock_mhz: 10_501,
        bandwidth: 1008e9,
        matrix_rate: 1024.0,
        idle_watts: 30.0,
        power_limit: 450,
        cuda: TWELVE_0.0,
        driver: TWELVE_0.1,
    },
    // NVIDIA H100 data sheet (SXM5) and whitepaper.
    Profile {
        capability: (9, 0),
        name: "Virtual H100",
        multiprocessors: 132,
        threads: 2048,
        blocks: 32,
        shared: 228 << 10,
        l2: 50 << 20,
        memory: 80 << 30,
        clock_mhz: 1755,
        memory_clock_mhz: 2619,
        bandwidth: 3.35e12,
        matrix_rate: 4096.0,
        idle_watts: 75.0,
        power_limit: 700,
        cuda: TWELVE_0.0,
        driver: TWELVE_0.1,
    },
    // NVIDIA DGX B200 data sheet and Blackwell architecture brief. The driver reports 148 multiprocessors and 126 MiB of L2.
    Profile {
        capability: (10, 0),
        name: "Virtual B200",
        multiprocessors: 148,
        threads: 2048,
        blocks: 32,
        shared: 228 << 10,
        l2: 126 << 20,
        memory: 180 << 30,
        clock_mhz: 1965,
        memory_clock_mhz: 3996,
        bandwidth: 8.0e12,
        matrix_rate: 8192.0,
        idle_watts: 140.0,
        power_limit: 1000,
        cuda: TWELVE_8.0,
        driver: TWELVE_8.1,
    },
    // NVIDIA RTX Blackwell GPU Architecture whitepaper (GB202).
    Profile {
        capability: (12, 0),
        name: "Virtual RTX 5090",
        multiprocessors: 170,
        threads: 1536,
        blocks: 24,
        shared: 100 << 10,
        l2: 96 << 20,
        memory: 32 << 30,
        clock_mhz: 2407,
        memory_clock_mhz: 14_001,
        bandwidth: 1792e9,
        matrix_rate: 1024.0,
        idle_watts: 40.0,
        power_limit: 575,
        cuda: TWELVE_8.0,
        driver: TWELVE_8.1,
    },
];

/// A GPU that is too old for this project, by the data sheet of NVIDIA's T4.
const TOO_OLD: Profile = Profile {
    capability: (7, 5),
    name: "Virtual T4",
    multiprocessors: 40,
    threads: 1024,
    blocks: 16,
    shared: 64 << 10,
    l2: 4 << 20,
    memory: 16 << 30,
    clock_mhz: 1590,
    memory_clock_mhz: 5001,
    bandwidth: 320e9,
    matrix_rate: 1024.0,
    idle_watts: 10.0,
    power_limit: 70,
    cuda: TWELVE_0.0,
    driver: TWELVE_0.1,
};

impl Profile {
    /// Returns the profile of a capability such as `9.0`.
    pub fn of(capability: &str) -> Option<&'static Profile> {
        let all = PROFILES.iter().chain([const { &TOO_OLD }]);
        all.into_iter().find(|profile| profile.version() == capability)
    }

    /// Returns the capability as text: `9.0`.
    pub fn version(&self) -> String {
        format!("{}.{}", self.capability.0, self.capability.1)
    }

    /// Returns the bytes of shared memory that a block can opt in to.
    pub const fn most_shared(&self) -> u32 {
        self.shared - RESERVED_SHARED
    }

    /// `true` if PTX for a target (`sm_90`, `sm_90a`, `sm_100f`) runs on it.
    pub fn takes(&self, target: &str) -> bool {
        let Some(text) = target.strip_prefix("sm_") else {
            return false;
        };
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let Ok(number) = digits.parse::<u32>() else {
            return false;
        };
        let own = 10 * self.capability.0 + self.capability.1;
        match &text[digits.len()..] {
            "" => number <= own,
            // Architecture-specific: this capability alone.
            "a" => number == own,
            // Family-specific: this and later capabilities of the same major version.
            "f" => number <= own && number / 10 == self.capability.0,
            _ => false,
        }
    }
}

/// Returns the newest PTX version that the driver of a CUDA version accepts (release notes of the PTX ISA).
pub fn ptx_version(cuda: u32) -> (u32, u32) {
    match (cuda / 1000, cuda % 1000 / 10) {
        (..=11, minor) => (7, minor),
        (12, minor @ 0..=5) => (8, minor),
        (12, 6) => (8, 5),
        (12, minor) => (8, minor - 1),
        (13, minor) => (9, minor),
        _ => (9, 9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architecture_specific_targets_run_on_their_own_alone() {
        let takes = |capability: &str, target| Profile::of(capability).expect("a profile").takes(target);
        assert!(takes("9.0", "sm_80") && takes("9.0", "sm_90") && takes("9.0", "sm_90a"));
        assert!(!takes("9.0", "sm_100") && !takes("10.0", "sm_90a") && !takes("8.9", "sm_90"));
        assert!(takes("12.0", "sm_100") && !takes("12.0", "sm_100a") && !takes("12.0", "sm_100f"));
        assert!(takes("10.0", "sm_100f") && !takes("10.0", "compute_90") && !takes("10.0", "sm_x"));
    }

    #[test]
    fn drivers_take_the_ptx_of_their_time() {
        let expected = [
            (11_080, (7, 8)),
            (12_000, (8, 0)),
            (12_050, (8, 5)),
            (12_060, (8, 5)),
            (12_080, (8, 7)),
            (12_090, (8, 8)),
            (13_000, (9, 0)),
        ];
        for (cuda, version) in expected {
            assert_eq!(ptx_version(cuda), version, "{cuda}");
        }
    }
}
