from lxml import etree

from agent.patriot.row import INFO_FIELDS, USER_FIELDS, ZONE_FIELDS, Client, Injection, client_xml, unfit_for_xml
from agent.patriot.schema import Info, User, Zone

INJECTION = Injection(
    {
        "Installer": "Firma AS",
        "UseGlobCallOuts": True,
        "ShowOnCallOuts": False,
        "Absent": None,
        "ConvertType": "None",
        "ClientGroupings": {
            "ClientGrouping": [
                {"Description": "Alarm24", "GroupingAllowMultiple": True},
                {"Description": "Import", "GroupingAllowMultiple": "True"},
            ]
        },
    },
    {"User_Name": "Firma AS", "Email": "firma@example.no"},
)


def test_a_whole_row_is_laid_out_as_the_contract_says() -> None:
    client = Client(
        9998,
        info={"SPPage": "Notat", "Name": "Ola Nordmann", "Alias": "", "NoSigsMon": 1, "ResetNosigsIgnored": True},
        zones={
            2: {"ModuleNo": 0, "Zone_No": 2, "Zone_area": "Stue"},
            1: {"Zone_No": 1, "Zone_area": "", "ModuleNo": 3},
        },
        users={1: {"UserNo": 1, "User_Name": "Kari", "CallOrder": 0, "Type": "U", "MobileNo": "+4712345678"}},
    )
    assert client_xml("9998BASE11", client, INJECTION).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Clients><Row><__id>9998BASE11</__id>"
        "<Name>Ola Nordmann</Name><Alias></Alias><NoSigsMon>1</NoSigsMon>"
        "<ResetNosigsIgnored>True</ResetNosigsIgnored><SPPage>Notat</SPPage>"
        "<Installer>Firma AS</Installer><UseGlobCallOuts>True</UseGlobCallOuts>"
        "<ShowOnCallOuts>False</ShowOnCallOuts><ConvertType>None</ConvertType>"
        "<ClientGroupings>"
        "<ClientGrouping><Description>Alarm24</Description>"
        "<GroupingAllowMultiple>True</GroupingAllowMultiple></ClientGrouping>"
        "<ClientGrouping><Description>Import</Description>"
        "<GroupingAllowMultiple>True</GroupingAllowMultiple></ClientGrouping>"
        "</ClientGroupings>"
        "<Zones>"
        "<Zone><Zone_No>1</Zone_No><Zone_area></Zone_area><ModuleNo>3</ModuleNo></Zone>"
        "<Zone><Zone_No>2</Zone_No><Zone_area>Stue</Zone_area><ModuleNo>0</ModuleNo></Zone>"
        "</Zones>"
        "<Users>"
        "<User><User_Name>Kari</User_Name><MobileNo>+4712345678</MobileNo><Type>U</Type><UserNo>1</UserNo>"
        "<CallOrder>0</CallOrder></User>"
        "<User><User_Name>Firma AS</User_Name><Email>firma@example.no</Email><UserNo>199</UserNo>"
        "<CallOrder>0</CallOrder><Type>N</Type></User>"
        "</Users></Row></Clients>\n"
    )


def test_a_bare_client_of_a_bare_key() -> None:
    xml = client_xml("1P", Client(1, {"Name": "A"}, {}, {}), Injection({}))
    assert xml.endswith(b"<Clients><Row><__id>1P</__id><Name>A</Name><Zones/><Users/></Row></Clients>\n")


def test_a_user_above_199_still_stands_before_the_installer() -> None:
    client = Client(1, {"Name": "A"}, {}, {200: {"UserNo": 200, "User_Name": "B"}, 3: {"UserNo": 3}})
    root = etree.fromstring(client_xml("1P", client, INJECTION))
    assert [element.text for element in root.iterfind("Row/Users/User/UserNo")] == ["3", "200", "199"]


def test_any_text_that_xml_carries_comes_back_as_it_was() -> None:
    for text in (
        "æøå ÆØÅ",
        "a & b",
        "<b>",
        "]]>",
        "😀 👨‍👩‍👧",
        " spaces ",
        "line\nline\r\nline\ttab",
        "\"'",
        "\ud7ff\ue000\ufffd",
    ):
        xml = client_xml("1P", Client(1, {"Name": text}, {}, {}), Injection({}))
        assert etree.fromstring(xml).findtext("Row/Name") == text


def test_characters_that_xml_cannot_carry_are_named() -> None:
    unfit = {"\0": "U+0000", "\x0b": "U+000B", "\x1f": "U+001F", "\ud800": "U+D800", "\ufffe": "U+FFFE"}
    for character, name in unfit.items():
        assert unfit_for_xml(f"a{character}b") == name
    assert unfit_for_xml("\t\n\r \x7fæ\ufffd\U0010ffff") is None


def test_the_models_have_the_fields_of_the_row_in_its_order() -> None:
    assert tuple(Info.model_fields) == INFO_FIELDS
    assert tuple(Zone.model_fields) == ZONE_FIELDS
    assert tuple(User.model_fields) == USER_FIELDS
