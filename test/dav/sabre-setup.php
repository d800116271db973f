<?php
// Makes the folder named by the first argument ready for sabre.php: tables,
// and for each account a principal, a calendar, an address book and a home.
require __DIR__ . '/sabre-common.php';

$data = $argv[1];
$database = openDatabase($data);
foreach (['principals', 'calendars', 'addressbooks'] as $part) {
    $tables = glob("/usr/share/doc/php-sabre-dav/examples/sql/sqlite.$part.sql*");
    $database->exec(file_get_contents("compress.zlib://{$tables[0]}"));
}
$database->exec('DELETE FROM principals'); // the example's own
$principal = $database->prepare('INSERT INTO principals (uri, email, displayname) VALUES (?, ?, ?)');
$calendars = new Sabre\CalDAV\Backend\PDO($database);
$books = new Sabre\CardDAV\Backend\PDO($database);
foreach (ACCOUNTS as $person) {
    $principal->execute(["principals/$person", "$person@clinic.example", ucfirst($person)]);
    $calendars->createCalendar("principals/$person", 'ward', ['{DAV:}displayname' => 'Ward']);
    $books->createAddressBook("principals/$person", 'staff', ['{DAV:}displayname' => 'Staff']);
    mkdir("$data/files/$person", 0755, true);
}
