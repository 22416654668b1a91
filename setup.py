"Package metadata, read from settings.ini; a build also writes the chapters into the package"
import runpy
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
lib, readme = settings["lib_path"], here / "README.md"


def needs(key): return shlex.split(settings.get(f"{key}requirements", ""))


def carry(folder):
    "The chapters as a wheel carries them, into `folder`; a source archive has them already"
    if (here / "nbs").is_dir():
        course = runpy.run_path(str(here / lib / "course.py"))
        course["carry"](here / "nbs", Path(folder, lib, "chapters"))


class Build(build_py):
    def run(self):
        super().run()
        if not self.editable_mode: carry(self.build_lib)


class Archive(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        carry(base_dir)


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
    classifiers=["Development Status :: 4 - Beta", "Intended Audience :: Education",
                 "Programming Language :: Python :: 3", "Typing :: Typed"],
    python_requires=">=" + settings["min_python"],
    packages=find_packages(include=[lib, lib + ".*"]),
    package_data={lib: ["pretrained/*", "chapters/*.ipynb", "chapters/stored/*", "*.mplstyle",
                        "*.pyi", "py.typed"]},
    install_requires=needs(""),
    extras_require={e: needs(f"{e}_")
                    for e in ("notebooks", "hub", "gpu", "mpi", "parity", "docs", "dev")},
    entry_points={"console_scripts": shlex.split(settings["console_scripts"]),
                  "nbdev": [f"{lib}={lib}._modidx:d"]},
    cmdclass={"build_py": Build, "sdist": Archive},
    zip_safe=False,
)
