//! The generated `grub.cfg`: what the boot loader does, as a pure function of the kernel command line.

/// Name of the kernel on the boot partition.
pub const KERNEL: &str = "KERNEL";

/// Name of the initrd on the boot partition.
pub const INITRD: &str = "INITRD.IMG";

/// Name of this file on the boot partition.
pub const CONFIG: &str = "GRUB.CFG";

/// Writes the configuration for a command line that [`crate::cmdline::Cmdline`] accepted: words of its named characters, none of
/// which is a single quote.
///
/// A step that fails ends in `halt`: the boot loader never prompts (law of the disk 8).
pub fn config(cmdline: &str) -> String {
    let quoted: Vec<String> = cmdline
        .split_ascii_whitespace()
        .map(|word| format!("'{word}'"))
        .collect();
    format!(
        "set timeout=0\n\
         serial --unit=0 --speed=115200\n\
         terminal_output console serial\n\
         if linux /kernel {} ; then\n\
         \x20 if initrd /initrd.img ; then\n\
         \x20   boot\n\
         \x20 fi\n\
         fi\n\
         halt\n",
        quoted.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_each_word_and_halts_in_the_end() {
        insta::assert_snapshot!(config("console=ttyS0  page_poison=1"));
    }
}
