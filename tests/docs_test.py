"""Documentation: links, cited sections and code, options, flags.

Nothing of the package is imported: sources are parsed.
"""

import ast
import functools
import itertools
import pathlib
import re
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_ROOMS = ('agents', 'builders', 'datasets', 'environments', 'experiments',
          'launch', 'networks')
_OPTIONS = {
    '11.1': ('agents/msg/config.py', 'MSGConfig'),
    '11.2': ('agents/msg/config.py', 'BatchEnsembleMSGConfig'),
    '11.3': ('agents/bc/config.py', 'BCConfig')}
_FLAG_FILES = ('experiments/run.py', 'experiments/experiment_flags.py')

_HEADING = re.compile(r'^#{1,6} (.+)$', re.MULTILINE)
_NUMBERED = re.compile(r'^#{2,3} (\d+(?:\.\d+)?) ', re.MULTILINE)
_LINK = re.compile(r'\[[^\]\n]*\]\(([^)\s]+)\)')
_CITED_SECTION = re.compile(r'docs/msg\.md,?\s+(?:#\s*)?(\d+(?:\.\d+)?)')
_CITED_CODE = re.compile(r'`((?:\w+/)*\w+\.py): (\w+)`')
_CITED_FILE = re.compile(r'`((?:\w+/)+\w+\.py)`')
# Sections of a specification that is not named.
_BARE = re.compile(
    r'MSG specification|\bsections? \d+(\.\d+)?\b', re.IGNORECASE)
_CODE_BLOCK = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r'python -m acme_msg\.([\w.]*\w)((?:\\\n|[^\n`])*)')
_FLAG_DEFINITION = re.compile(r"DEFINE_\w+\(\s*'(\w+)'|DEFINE_alias\('(\w+)'")
# Launchpad's, and those of `launch.optional.vertex` for each group of nodes.
_OTHER_FLAGS = {'help', 'lp_launch_type', 'data_cpu', 'data_ram_gb'}
_ROW = re.compile(r'^\| `([^`]+)` \| `([^`]*)` \|', re.MULTILINE)


@functools.cache
def _files(*suffixes: str) -> list[pathlib.Path]:
  """Returns the project's files, without what git ignores."""
  listed = subprocess.run(
      ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      cwd=_ROOT, capture_output=True, text=True, check=True).stdout
  paths = (_ROOT / name for name in sorted(set(listed.split('\0'))) if name)
  return [p for p in paths if p.suffix in suffixes and p.is_file()]


def _name(path: pathlib.Path) -> str:
  return str(path.relative_to(_ROOT))


def _pages():
  return pytest.mark.parametrize('page', _files('.md'), ids=_name)


@functools.cache
def _prose(page: pathlib.Path) -> str:
  return _CODE_BLOCK.sub('', page.read_text())


@functools.cache
def _anchors(page: pathlib.Path) -> set[str]:
  """Returns the anchors that GitHub and the site give to headings."""
  anchors, seen = set(), {}
  for heading in _HEADING.findall(_prose(page)):
    heading = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
    slug = re.sub(r'[^\w\s-]', '', heading.lower()).strip().replace(' ', '-')
    anchors.add(f'{slug}-{seen[slug]}' if slug in seen else slug)
    seen[slug] = seen.get(slug, 0) + 1
  return anchors


@functools.cache
def _sections() -> dict[str, str]:
  """Returns the numbered sections of docs/msg.md: number to text."""
  text = (_ROOT / 'docs/msg.md').read_text()
  starts = [*_NUMBERED.finditer(text)]
  ends = [start.start() for start in starts[1:]] + [len(text)]
  return {start[1]: text[start.end():end] for start, end in zip(starts, ends)}


@functools.cache
def _names(path: pathlib.Path) -> set[str]:
  """Returns the names that a source defines."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      names.add(node.name)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
      targets = getattr(node, 'targets', None) or [node.target]
      names.update(t.id for t in targets if isinstance(t, ast.Name))
  return names


@_pages()
def test_links_lead_somewhere(page):
  for link in _LINK.findall(_prose(page)):
    if re.match(r'https?://', link):
      continue
    path, _, anchor = link.partition('#')
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), f'{link}: no such file'
    if anchor:
      assert anchor in _anchors(target), f'{link}: no such heading'


@_pages()
def test_cited_code_exists(page):
  for path, name in _CITED_CODE.findall(_prose(page)):
    assert (_ROOT / path).is_file(), f'{path}: {name}: no such file'
    assert name in _names(_ROOT / path), f'{path} has no {name}'
  for path in _CITED_FILE.findall(_prose(page)):
    assert (_ROOT / path).is_file() or (page.parent / path).is_file(), path


@functools.cache
def _all_flags() -> set[str]:
  text = '\n'.join(path.read_text() for path in _files('.py'))
  return _OTHER_FLAGS.union(*_FLAG_DEFINITION.findall(text))


@_pages()
def test_commands_exist(page):
  for module, arguments in _COMMAND.findall(page.read_text()):
    if not module.endswith('.NAME'):
      path = _ROOT / module.replace('.', '/')
      assert (path / '__main__.py').exists() or (
          "__name__ == '__main__'" in path.with_suffix('.py').read_text()), (
              module)
    unknown = set(re.findall(r'--(\w+)', arguments)) - _all_flags()
    assert not unknown, f'{module} has no flags {unknown}'


@_pages()
def test_math_uses_what_github_renders(page):
  prose = re.sub(r'`[^`\n]*`', '', _prose(page))
  for block, inline in re.findall(
      r'^\$\$$(.*?)^\$\$$|\$(?! )([^$\n]+?)(?<! )\$', prose,
      re.MULTILINE | re.DOTALL):
    # Markdown takes a backslash before punctuation away.
    found = re.search(r'\\(operatorname|mbox|[^\w\s])', block + inline)
    assert not found, f'{found and found[0]} in {block + inline}'


def _imported_rooms(room: str) -> set[str]:
  """Returns the other rooms that a room's files import."""
  rooms = set()
  for path in (_ROOT / room).rglob('*.py'):
    depth = len(path.relative_to(_ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and node.level == depth:
        rooms.update([node.module.split('.')[0]] if node.module else
                     [alias.name for alias in node.names])
  return rooms.intersection(_ROOMS) - {room}


def test_rooms_import_what_the_table_says():
  table = dict(re.findall(
      r'^\| `(\w+)/` \|.*\|([^|]*)\|$',
      (_ROOT / 'docs/architecture.md').read_text(), re.MULTILINE))
  for room in _ROOMS:
    if table[room].strip() != 'everything':
      assert _imported_rooms(room) == set(re.findall(r'\w+', table[room])), room


def test_sections_are_numbered_in_order():
  numbers = [tuple(map(int, n.split('.'))) for n in _sections()]
  assert len(numbers) == len(set(numbers)) > 50
  assert numbers == sorted(numbers)
  for before, after in itertools.pairwise(numbers):
    # Neither a chapter nor a section is left out.
    assert after in ((before[0] + 1,), (*before[:1], (*before, 0)[1] + 1))


def test_cited_sections_exist():
  cited = 0
  for path in _files('.py', '.md', '.gin'):
    if path == pathlib.Path(__file__).resolve():
      continue
    for number in _CITED_SECTION.findall(path.read_text()):
      cited += 1
      assert number in _sections(), (
          f'{_name(path)} cites docs/msg.md {number}, which does not exist')
  assert cited > 30


def test_no_section_is_cited_without_its_page():
  for path in _files('.py'):
    if path.relative_to(_ROOT).parts[0] not in (*_ROOMS, 'tests') or (
        path == pathlib.Path(__file__).resolve()):
      continue
    text = re.sub(r'\n\s*#?\s*', ' ', path.read_text())
    found = _BARE.search(text)
    assert not found, (
        f'{_name(path)}: cite {found and found[0]!r} as `docs/msg.md N.M`')


def _literal(node: ast.AST):
  return ast.literal_eval(node) if node is not None else None


@pytest.mark.parametrize('section', _OPTIONS)
def test_every_option_is_described_with_its_default(section):
  path, name = _OPTIONS[section]
  tree = ast.parse((_ROOT / path).read_text())
  config, = (node for node in tree.body if getattr(node, 'name', '') == name)
  defaults = {
      node.target.id: _literal(node.value) for node in config.body
      if isinstance(node, ast.AnnAssign)}
  described = {
      option: ast.literal_eval(default)
      for option, default in _ROW.findall(_sections()[section])}
  assert described == defaults
  assert len(described) >= 9


def _flags(path: str) -> dict[str, ast.AST]:
  """Returns the flags that a module defines, with their defaults."""
  tree = ast.parse((_ROOT / path).read_text())
  return {
      call.args[0].value: call.args[1] for call in ast.walk(tree)
      if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
      and call.func.attr.startswith('DEFINE_')
      and call.func.attr != 'DEFINE_alias'}


def test_every_flag_is_described_with_its_default():
  defined = {}
  for path in _FLAG_FILES:
    defined.update(_flags(path))
  described = {
      flag.removeprefix('--'): ast.literal_eval(default)
      for flag, default in _ROW.findall(_sections()['11.4'])}
  assert described.keys() == defined.keys()
  for flag, default in defined.items():
    try:
      value = ast.literal_eval(default)
    except ValueError:  # A constant of another module.
      continue
    assert described[flag] == value, flag
