"""Hooks of the documentation's site (mkdocs.yml).

Adds the pages that lie beside the code, one page for each public module, links
from cited code and cited sections to where they are, and MathML.
"""

import ast
import html
import pathlib
import re
import shutil

from latex2mathml import converter
from mkdocs.structure import files as files_lib

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_ROOMS = ('networks', 'agents', 'builders', 'environments', 'datasets',
          'launch', 'experiments')
_PAGES = {
    'Start': 'README.md',
    'Questions': 'docs/README.md',
    'What MSG computes': 'docs/msg.md',
    'Architecture': 'docs/architecture.md',
    'Builders': 'builders/README.md',
    'Critics of your own': 'networks/README.md',
    'Data': 'datasets/README.md',
    'Launching': 'launch/README.md',
    'Reliability': 'docs/RELIABILITY.md',
    'Scaling': 'launch/SCALING.md',
    'Measured speeds': 'experiments/BENCHMARKS.md',
    'Contributing': 'CONTRIBUTING.md',
    'Changes': 'CHANGELOG.md',
}
# As in `agents/msg/losses.py: td_target`.
_CODE = re.compile(r'`((?:\w+/)*\w+)\.py: (\w+)`')
_SECTION = re.compile(r'(?<![/\w])docs/msg\.md\s+(\d+(?:\.\d+)?)(?!\d)')
_INLINE = re.compile(
    r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(
    r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def _modules():
  """Returns public modules and packages: path below the root to source."""
  sources = [path for path in sorted(_ROOT.glob('*.py'))
             if path.stem not in ('setup', '__init__')]
  for room in _ROOMS:
    sources += sorted((_ROOT / room).rglob('*.py'))
  modules = {}
  for source in sources:
    path = source.with_suffix('')
    path = path.parent if path.name == '__init__' else path
    if not path.name.startswith('_'):
      modules[path.relative_to(_ROOT).as_posix()] = source
  return modules


def _page(module: str, source: pathlib.Path) -> str:
  """Returns the page of a module, or a package's list of public names."""
  name = f'acme_msg.{module.replace("/", ".")}'
  page = f'# {name}\n\n::: {name}\n'
  if source.stem != '__init__':
    return page
  found = re.search(r'^__all__ = [(\[](.*?)[)\]]', source.read_text(),
                    re.DOTALL | re.MULTILINE)
  public = re.findall(r"'(\w+)'", found[1]) if found else []
  return page + '    options: {members: false}\n' + (
      f'\nPublic names: {", ".join(f"`{n}`" for n in public)}.\n'
      if public else '')


def _has_public(module: str, name: str) -> bool:
  tree = ast.parse((_ROOT / f'{module}.py').read_text())
  return not name.startswith('_') and any(
      getattr(node, 'name', None) == name for node in tree.body)


def on_startup(command, dirty):
  """Lays the package where griffe finds it, under its own name."""
  package = _ROOT / 'build/docs/acme_msg'
  shutil.rmtree(package, ignore_errors=True)
  package.mkdir(parents=True)
  for path in _ROOT.glob('*.py'):
    shutil.copy(path, package)
  for room in _ROOMS:
    shutil.copytree(_ROOT / room, package / room, ignore=lambda folder, names: [
        n for n in names if not (n.endswith('.py') or '.' not in n)])


def on_config(config):
  """Lists the pages."""
  modules = [
      {room: [{module.partition('/')[2].replace('/', '.') or room:
               f'api/{module}.md'} for module in _modules()
              if module.split('/')[0] == room]} for room in _ROOMS]
  modules += [
      f'api/{module}.md' for module in _modules()
      if module.split('/')[0] not in _ROOMS]
  config.nav = [*({title: path} for title, path in _PAGES.items()),
                {'Modules': modules}]
  return config


def on_files(files, config):
  """Replaces the pages found by those of `_PAGES`; adds modules, pictures."""
  for file in list(files.documentation_pages()):
    files.remove(file)
  pictures = [f'docs/{path.name}' for path in (_ROOT / 'docs').glob('*.png')]
  for path in [*_PAGES.values(), *pictures]:
    files.append(files_lib.File.generated(
        config, path, abs_src_path=str(_ROOT / path)))
  for module, source in _modules().items():
    files.append(files_lib.File.generated(
        config, f'api/{module}.md', content=_page(module, source)))
  return files


def on_page_markdown(markdown, page, config, files):
  """Links cited code to its documentation."""
  def link(match):
    module, name = match.groups()
    if f'api/{module}.md' in files.src_uris and _has_public(module, name):
      return f'[{match[0]}][acme_msg.{module.replace("/", ".")}.{name}]'
    return match[0]
  return _CODE.sub(link, markdown)


def _mathml(display: str):
  def convert(match):
    # GitHub refuses \operatorname; MathML needs it to make one word of letters.
    latex = html.unescape(match[1]).replace('\\mathrm', '\\operatorname')
    found = converter.convert(latex.strip(), display=display)
    # Browsers put no space between a function's name and its argument.
    return found.replace('<mi>log</mi>', '<mi>log</mi><mspace width="0.17em"/>')
  return convert


def on_page_content(content, page, config, files):
  """Links cited sections of docs/msg.md, and turns LaTeX into MathML."""
  target = files.get_file_from_path('docs/msg.md')
  anchors = {
      match[1]: match[0] for match in re.finditer(
          r'^#{2,3} (\d+(?:\.\d+)?) .*$', (_ROOT / 'docs/msg.md').read_text(),
          re.MULTILINE)}

  def link(match):
    slug = re.sub(r'[^\w\s-]', '', anchors[match[1]].lower()).strip()
    slug = re.sub(r'[-\s]+', '-', slug)
    url = f'{target.url_relative_to(page.file)}#{slug}'
    return f'<a href="{url}">{match[0]}</a>'
  content = _INLINE.sub(_mathml('inline'), content)
  content = _DISPLAY.sub(_mathml('block'), content)
  content = content.replace('build/docs/acme_msg/', '')
  return _SECTION.sub(link, content)
