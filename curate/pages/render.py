"""Pages and cards to send: templates filled in by Jinja2, for both programs.

In: the name of a template and its values. Out: one page that loads nothing from elsewhere and runs
no script, the same text for the same values. Jinja2 escapes every value; no HTML is built in
Python. The frame of every page and the charts are in `templates/` beside this file; a program adds
its own.
"""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from curate.pages.cards import Markdown, quote_yaml, write_value


def render_page(package: str, template: str, *, title: str, heading: str, **values: object) -> str:
    """The whole page.

    Parameters
    ----------
    package : whose folder `templates` holds the template
    template : a file that extends page.html.j2
    title : of the browser's window
    heading : the first line of the page
    values : the other variables of the template
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("curate.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"thousands": format_count, "percent": format_percent}
    page = environment.get_template(template)
    return page.render(title=title, heading=heading, **values)


def render_card(package: str, template: str, **values: object) -> str:
    """A card: Markdown with a head of YAML. Every text among the values is escaped for Markdown.

    Parameters
    ----------
    package : whose folder `templates` holds the template
    template : in which the filter `yaml` writes a text for the head
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=False,
        finalize=write_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "thousands": lambda number: Markdown(format_count(number)),
        "percent": lambda share: Markdown(format_percent(share)),
        "yaml": quote_yaml,
        "escaped": Markdown,  # the output of a macro, whose values are escaped already
    }
    return environment.get_template(template).render(**values)


def format_count(number: int) -> str:
    """35887 -> "35,887"."""
    return f"{number:,}"


def format_percent(share: float) -> str:
    """0.652 -> "65.2 %"."""
    return f"{100 * share:.1f} %"
