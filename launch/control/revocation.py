"""trainctl certs --revoke: certificates of a job that its other ends take no more.

  DIR/.issued/NAME/SERIAL.pem   every certificate that was made for NAME
  DIR/.revoked/                 what openssl remembers: the revoked ones, the list's number
  DIR/.revoked/NAME-NUMBER/     directories that were NAME's
  DIR/revoked.pem               the list (a CRL), also in the directories of all who remain
"""
import itertools
import os
import pathlib
import shutil
import tempfile

from .failure import Failure
from .openssl import date_in, date_of_begin, run, seconds_left, serial_of

LIST = "revoked.pem"
CONFIG = """\
[ca]
default_ca = job
[job]
database = {0}/index
crlnumber = {0}/number
unique_subject = no
default_md = default
"""


def replace(source, target):
    """A copy that is there whole, or not yet."""
    made = target.with_name(f".new-{target.name}")
    shutil.copyfile(source, made)
    with open(made, "rb") as file:
        os.fsync(file.fileno())
    made.rename(target)


def record(directory, name, certificate):
    """Remembers what is made for `name`, so that it can be revoked when its directory is gone."""
    kept = directory / ".issued" / name
    kept.mkdir(parents=True, exist_ok=True)
    replace(certificate, kept / f"{serial_of(certificate)}.pem")


def give_list(directory, owner):
    """The list, if there is one, to the directory of a certificate."""
    if (directory / LIST).exists():
        replace(directory / LIST, owner / LIST)


def owners(directory):
    return sorted(path.parent for path in directory.glob("[!.]*/certificate.pem"))


def certificates_of(directory, name):
    """All that are known, by serial number."""
    found = {path.stem: path for path in (directory / ".issued" / name).glob("*.pem")}
    own = directory / name / "certificate.pem"
    if own.exists():
        found[serial_of(own)] = own
    return found


def is_revoked(index, serial):
    return any(line.split("\t")[3] == serial for line in index.read_text().splitlines())


def number_of(written):
    try:
        text = run("openssl", "crl", "-in", written, "-noout", "-crlnumber")
    except Failure:
        return 0  # damaged, and about to be replaced
    return int(text.strip().split("=")[1], 16)


def require_memory(directory, number):
    """A list of less than an earlier one says would let in again who was shut out."""
    written = [path / LIST for path in (directory, *owners(directory)) if (path / LIST).exists()]
    newest = max(written, key=number_of, default=None)
    if newest is not None and int(number.read_text(), 16) <= number_of(newest):
        raise Failure(f"{directory / '.revoked'} does not know all that {newest} revokes: bring it "
                      "back from where that was made (its name is hidden; cp -a copies it), or "
                      "make the job's certificates anew in another directory")


def write_list(directory, certificates):
    """Puts these on the list; first openssl's memory of it is durable, then the list."""
    authority, memory = directory / "authority.pem", directory / ".revoked"
    with tempfile.TemporaryDirectory() as scratch:
        index, number, config = (pathlib.Path(scratch, name) for name in
                                 ("index", "number", "config"))
        config.write_text(CONFIG.format(scratch))
        index.touch()
        number.write_text("01\n")
        for file in (index, number):
            if (memory / file.name).exists():
                shutil.copyfile(memory / file.name, file)
        require_memory(directory, number)
        ca = ("openssl", "ca", "-config", config, "-cert", authority,
              "-keyfile", directory / "authority.key")
        for serial, certificate in certificates.items():
            if not is_revoked(index, serial):
                run(*ca, "-revoke", certificate)
        made = pathlib.Path(scratch, LIST)
        run(*ca, "-gencrl", "-crl_lastupdate", date_of_begin(),
            "-crl_nextupdate", date_in(seconds_left(authority)), "-out", made)
        memory.mkdir(exist_ok=True)
        for file in (index, number):
            replace(file, memory / file.name)
        replace(made, directory / LIST)


def put_away(directory, name):
    """Whatever is in the directory of a name, and however often one is brought back."""
    if not (directory / name).exists():
        return
    for number in itertools.count(1):
        target = directory / ".revoked" / f"{name}-{number}"
        if not target.exists():
            (directory / name).rename(target)
            return


def require_list(authority):
    """Authorities that sign certificates alone cannot sign a list of them."""
    usage = run("openssl", "x509", "-in", authority, "-noout", "-ext", "keyUsage")
    if "CRL Sign" not in usage:
        raise Failure(f"{authority} is of an older trainctl and cannot revoke: make the job's "
                      "certificates anew in another directory")


def revoke(directory, names):
    """Revokes all that was ever made for these names. Returns whose directories have the list."""
    if not (directory / "authority.key").exists():
        raise Failure(f"{directory} holds no authority.key: only who has it can revoke")
    require_list(directory / "authority.pem")
    certificates = {}
    for name in names:
        found = certificates_of(directory, name)
        if not found:
            raise Failure(f"{directory} has made no certificate for \"{name}\"")
        certificates.update(found)
    write_list(directory, certificates)
    for name in names:
        put_away(directory, name)
    remaining = owners(directory)
    for owner in remaining:
        give_list(directory, owner)
    return [owner.name for owner in remaining]
