"""Meter profiles by name: shipped with the product, or kept beside the site file."""

from pathlib import Path

from gateway.domain.sites import Site
from gateway.errors import ConfigError, Problem, ProfileError
from gateway.meter_model import MESSAGE, MODBUS, Example, Profile, ProfileRegister
from gateway.profile_reading import read_profile
from gateway.toml_form import closest

__all__ = [
    "MESSAGE",
    "MODBUS",
    "Example",
    "Profile",
    "ProfileRegister",
    "load_profile",
    "own_profiles",
    "profile_names",
    "site_profiles",
]

SHIPPED = Path(__file__).parent / "profiles"


def profile_names(*, extra_dir: Path | None = None) -> list[str]:
    """The names of all profiles, shipped and in `extra_dir`, sorted."""
    folders = [SHIPPED] if extra_dir is None else [SHIPPED, extra_dir]
    return sorted({f"{path.parent.name}/{path.stem}" for folder in folders for path in folder.glob("*/*.toml")})


def load_profile(name: str, *, extra_dir: Path | None = None) -> Profile:
    """The profile `<carrier>/<maker>_<model>`, read, checked and proven by its own examples.

    `extra_dir` holds profiles of the installation beside the shipped ones, in the same folders by carrier.
    Raises ProfileError, one sentence per mistake, when there is none or it does not hold.
    """
    path = _path(name, extra_dir)
    try:
        return read_profile(path, name)
    except ConfigError as error:
        raise ProfileError(str(error), error.problems) from error


def site_profiles(site: Site) -> dict[str, Profile]:
    """Every profile that the site's meters use, by name. Raises ProfileError."""
    extra_dir = own_profiles(site.file)
    names = dict.fromkeys(meter.profile for meter in site.meters.values())
    return {name: load_profile(name, extra_dir=extra_dir) for name in names}


def own_profiles(site_file: Path) -> Path | None:
    """The folder `profiles` beside the site file, where an installation keeps profiles of its own."""
    folder = site_file.parent / "profiles"
    return folder if folder.is_dir() else None


def _path(name: str, extra_dir: Path | None) -> Path:
    """The file of a profile. A name of the installation's own must not hide a shipped one."""
    known = profile_names(extra_dir=extra_dir)
    if name not in known:
        text = f"profile {name!r}: found no such file; expected <carrier>/<maker>_<model>. {closest(name, known)}"
        raise ProfileError(text.strip())
    shipped = SHIPPED / f"{name}.toml"
    own = extra_dir / f"{name}.toml" if extra_dir else None
    if own is None or not own.is_file():
        return shipped
    if shipped.is_file():
        problem = Problem(
            file=str(own),
            line=None,
            key="(file)",
            found="a profile with the name of a shipped one",
            expected="a name of its own",
            mend="Rename the file and the meters that use it.",
        )
        raise ProfileError(problem.sentence(), [problem])
    return own
