"Package metadata, read from settings.ini"
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
readme = here / "README.md"


def needs(key): return shlex.split(settings.get(f"{key}requirements", ""))


setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    keywords=settings["keywords"],
    license_expression="MIT",
    classifiers=["Development Status :: 4 - Beta", "Intended Audience :: Education", "Programming Language :: Python :: 3"],
    python_requires=">=" + settings["min_python"],
    packages=find_packages(include=[settings["lib_path"], settings["lib_path"] + ".*"]),
    package_data={settings["lib_path"]: ["pretrained/*"]},
    install_requires=needs(""),
    extras_require={extra: needs(f"{extra}_") for extra in ("notebooks", "gpu", "mpi", "parity", "dev")},
    entry_points={"console_scripts": shlex.split(settings["console_scripts"]),
                  "nbdev": [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"]},
    zip_safe=False,
)
