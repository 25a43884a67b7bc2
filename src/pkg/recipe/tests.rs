#![allow(clippy::unwrap_used)]
use super::*;

fn error(text: &str) -> String {
    Recipe::parse("component.yml", text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn reads_every_key() {
    let text = "about: a kernel\npackages: [linux, libc6]\ntools: [kmod, libc6]\nkeep: ['usr/bin/*']\ndrop: ['**/x']\n\
        provided: [libm.so.6]\nfiles:\n- {path: /etc/x, contents: hi}\n- {path: init, program: imgkit-init, mode: 0700}\n\
        - {path: run, directory: true, uid: 5, gid: 6}\n- {path: a/b, symlink: ../c}\n- {path: d, source: d.conf}\n\
        kernel: {modules: [virtio-net, 'kernel/net/*']}\ngrub: {modules: [fat], prefix: '(,msdos1)/', config: halt}\n\
        certificates: {from: 'c/*.crt', to: etc/ca}\nconfig: {entrypoint: [/init], cmd: [a], env: [A=b], user: '5', workingDir: /w, \
        labels: {x: y}}\nlinuxkit: {net: host, capabilities: [all], uid: 1, readonly: true}\n";
    let recipe = Recipe::parse("c", text.as_bytes()).unwrap();
    assert_eq!(recipe.all_packages(), ["kmod", "libc6", "linux"]);
    let modes: Vec<u16> = recipe.files.iter().map(|file| file.mode).collect();
    assert_eq!(modes, [0o644, 0o700, 0o755, 0o777, 0o644]);
    let label = recipe.config.labels.get("org.mobyproject.config").unwrap();
    assert_eq!(
        label,
        r#"{"capabilities":["all"],"net":"host","readonly":true,"uid":1}"#
    );
    let Modules::Some(modules) = recipe.kernel.unwrap().modules else {
        unreachable!()
    };
    assert!(matches!(modules.as_slice(), [Wanted::Name(name), Wanted::Path(_)] if name == "virtio_net"));
}

#[test]
fn mistakes_are_named_at_their_place() {
    let cases = [
        "packages: [x]\n",
        "about: x\npakages: [x]\n",
        "about: x\nkeep: [/usr]\n",
        "about: x\nfiles:\n- {path: a, contents: x, symlink: y}\n",
        "about: x\nfiles:\n- {path: ../a, contents: x}\n",
        "about: x\nfiles:\n- {path: a, contents: x, mode: 644000}\n",
        "about: x\nfiles:\n- {path: a, source: ../secret}\n",
        "about: x\nkernel: {modules: some}\n",
        "about: x\ntools: [kmod]\n",
        "about: x\nlinuxkit: [net]\n",
        "about: x\nconfig: {entrypoint: /init}\n",
    ];
    let errors: Vec<String> = cases.iter().map(|case| error(case)).collect();
    insta::assert_snapshot!(errors.join("\n"));
}
