"""trainctl certs: certificates by which the clusters of a job know each other."""
import argparse
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
import time

from . import revocation
from .failure import Failure
from .openssl import date_in, date_of_begin, run, seconds_left
from .paths import given_path

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
COORDINATOR = "coordinator"
OWN_FILES = ("authority.key", "authority.pem", revocation.LIST)

HELP = """\
Makes the certificates by which the clusters of a job know each other.

DIR/authority.key signs them: keep it where only you can read it; no cluster needs it.
DIR/NAME/ is all that cluster NAME needs; DIR/coordinator/ is for the coordinator. Called again
with the same DIR, it adds clusters to the job. It never overwrites a certificate: to renew one,
remove its directory first.

--revoke NAME shuts out every certificate that was ever made for NAME. DIR/revoked.pem lists them;
copy it into the directory of certificates of each end that remains. Programs that run there read
it within seconds, take no new connection of a revoked certificate, and drop those that are open.
--cluster NAME makes a new one for that name."""

CONFIG = """\
[ca]
default_ca = job
[job]
database = {scratch}/index
new_certs_dir = {scratch}
unique_subject = no
rand_serial = yes
default_md = default
policy = any
[any]
commonName = supplied
[req]
distinguished_name = subject
prompt = no
[subject]
CN = {common_name}
[extensions]
basicConstraints = critical,{constraints}
keyUsage = critical,{usage}
subjectKeyIdentifier = hash
{more}
"""


def new_key(path):
    """An Ed25519 key, readable by its owner alone from the first moment."""
    text = run("openssl", "genpkey", "-algorithm", "ed25519")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def sign(key, certificate, common_name, days, authority=None, uri=None):
    """Writes the certificate of `key`: an authority's own, or one that `authority` signs."""
    with tempfile.TemporaryDirectory() as scratch:
        pathlib.Path(scratch, "index").touch()
        config = pathlib.Path(scratch, "config")
        config.write_text(CONFIG.format(
            scratch=scratch, common_name=common_name,
            constraints="CA:FALSE" if authority else "CA:TRUE,pathlen:0",
            usage="digitalSignature" if authority else "keyCertSign,cRLSign",
            more=f"extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = URI:{uri}"
            if authority else ""))
        request = f"{scratch}/request"
        run("openssl", "req", "-new", "-config", config, "-key", key, "-out", request)
        signer = (["-cert", authority / "authority.pem", "-keyfile", authority / "authority.key"]
                  if authority else ["-selfsign", "-keyfile", key])
        made = f"{scratch}/certificate"
        run("openssl", "ca", "-batch", "-config", config, "-extensions", "extensions",
            "-in", request, "-out", made, "-notext", "-startdate", date_of_begin(),
            "-enddate", date_in(days * 86400), *signer)
        shutil.copyfile(made, certificate)


def job_of(authority):
    subject = run("openssl", "x509", "-in", authority, "-noout", "-subject", "-nameopt",
                  "multiline")
    found = re.search(r"commonName\s*=\s*libtrain job (\S+)", subject)
    if not found:
        raise Failure(f"{authority} is not the authority of a libtrain job")
    return found.group(1)


def authority_for(directory, job, days):
    """The job's authority in `directory`, made if there is none. True if it is new."""
    key, certificate = directory / "authority.key", directory / "authority.pem"
    if key.exists() != certificate.exists():
        there, missing = (key, certificate) if key.exists() else (certificate, key)
        raise Failure(f"{there} is there, but {missing} is not: bring it back, or choose another "
                      "directory")
    if key.exists():
        if job_of(certificate) != job:
            raise Failure(f"{directory} holds the authority of the job \"{job_of(certificate)}\", "
                          f"not of \"{job}\": choose another directory")
        if seconds_left(certificate) < days * 86400 - 60:
            left = int(seconds_left(certificate) // 86400)
            raise Failure(f"{certificate} itself is valid for {left} days only: ask for "
                          "fewer --days, or begin anew in another directory")
        return False
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{directory} cannot be a directory for certificates: "
                      f"{error.strerror}") from None
    made = directory / ".new-authority.key"
    made.unlink(missing_ok=True)
    new_key(made)
    sign(made, certificate, f"libtrain job {job}", max(days, 3650))
    made.rename(key)
    return True


def certify(directory, job, name, days):
    """DIR/NAME with all that this end needs; appears whole or not at all."""
    kind = COORDINATOR if name == COORDINATOR else f"cluster/{name}"
    made = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    try:
        new_key(made / "key.pem")
        sign(made / "key.pem", made / "certificate.pem", name, days, directory,
             f"libtrain://{job}/{kind}")
        shutil.copyfile(directory / "authority.pem", made / "authority.pem")
        revocation.give_list(directory, made)
        revocation.record(directory, name, made / "certificate.pem")
        made.rename(directory / name)
    finally:
        if made.exists():
            shutil.rmtree(made)


def check_names(names):
    for name in names:
        if name in OWN_FILES:
            raise Failure(f"{name} is a file of the authority; take another name")
        if not NAME.fullmatch(name):
            raise Failure(f"\"{name}\" is no name: 1 to 63 letters, digits, '-', '_' or '.', the "
                          "first a letter, digit or '_'")
    if len(set(names)) < len(names):
        raise Failure("a cluster is named twice")


def make(directory, job, clusters, days=365):
    """What is missing of the job's authority, the coordinator's certificate and the clusters'.
    Returns whether the authority is new, and whose certificates are."""
    check_names([job])
    check_names(clusters)
    if COORDINATOR in clusters:
        raise Failure("the coordinator gets its certificate by itself; no cluster may be called so")
    if not 1 <= days <= 36500:
        raise Failure(f"--days is 1 to 36500, not {days}")
    for name in clusters:
        if (directory / name).exists():
            raise Failure(f"{directory / name} is there already, and is not overwritten; to renew "
                          "it, remove it first")
    is_new = authority_for(directory, job, days)
    names = list(clusters)
    if not (directory / COORDINATOR).exists():
        names.insert(0, COORDINATOR)
    if not names:
        raise Failure(f"nothing to do: {directory} has an authority and a coordinator; name a "
                      "--cluster")
    for name in names:
        certify(directory, job, name, days)
    return is_new, names


@contextlib.contextmanager
def alone_in(directory, patience_s=60):
    """One at a time: of two that read and write what is revoked, one's would be forgotten."""
    with open(directory / ".lock", "ab") as file:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failure(f"another trainctl has been at work in {directory} for "
                                  f"{patience_s} s: end it") from None
                time.sleep(0.05)
        yield


def revoke(options):
    check_names(options.revoke)
    remaining = revocation.revoke(options.directory, options.revoke)
    written = options.directory / revocation.LIST
    print(f"revoked: {', '.join(options.revoke)}")
    print(f"  {written}  copy into the directory of certificates of: {', '.join(remaining)}; "
          "programs that run there read it within seconds")


def command(options):
    is_there = options.directory.is_dir()
    with alone_in(options.directory) if is_there else contextlib.nullcontext():
        carry_out(options)


def carry_out(options):
    directory, days = options.directory, options.days
    if options.revoke:
        revoke(options)
        if not options.cluster:
            return
    authority = directory / "authority.pem"
    job = options.job
    if job is None and authority.exists():
        job = job_of(authority)
    if job is None:
        raise Failure("a new authority needs the job's name: --job")
    is_new, names = make(directory, job, options.cluster, days)
    print(f"job {job}: {'a new' if is_new else 'the'} authority in {directory}")
    print(f"  {directory / 'authority.key'}  signs for this job: keep it here, copy it nowhere")
    for name in names:
        owner = "the coordinator's machine" if name == COORDINATOR else f"every rank of {name}"
        print(f"  {directory / name}/  copy to {owner}, readable by its user alone; "
              f"valid for {days} days")


def add_to(commands):
    parser = commands.add_parser("certs", help="certificates for the clusters of a job",
                                 description=HELP,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR", type=given_path)
    parser.add_argument("--job", metavar="NAME", help="the job's name; DIR knows it afterwards")
    parser.add_argument("--cluster", action="append", default=[], metavar="NAME",
                        help="a cluster's name, as in train_gpt --cluster; may be repeated")
    parser.add_argument("--revoke", action="append", default=[], metavar="NAME",
                        help="a cluster whose certificates are taken no more, or coordinator; may "
                        "be repeated")
    parser.add_argument("--days", type=int, default=365,
                        help="how long the certificates are valid (default: 365)")
    parser.set_defaults(run=command)
